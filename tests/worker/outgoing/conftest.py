"""Stores of four shards, in memory and on Postgres, and a log in them."""

from tests.eventstore.conftest import backing, store

__all__ = ["backing", "store"]
