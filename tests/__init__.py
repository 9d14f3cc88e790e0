"""Tests. Every folder here is a package, or `tests/domain` would hide `domain`."""
