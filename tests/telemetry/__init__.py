"""Tests of logs, metrics, traces and settings."""
