"""Tests of `api/command_log/`."""
