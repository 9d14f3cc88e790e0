"""Tests of `api/mail/`."""
