"""Tests of `api/identity/`."""
