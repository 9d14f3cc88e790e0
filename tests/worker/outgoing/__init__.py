"""Tests of what leaves for the outside."""
