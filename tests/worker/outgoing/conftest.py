"""The store of most tests is in memory; the contract of `tests/eventstore` says that Postgres does the same."""

import pytest

from tests.eventstore.conftest import prepare, store

__all__ = ["prepare", "store"]


@pytest.fixture
def backing(request: pytest.FixtureRequest) -> str | None:
    """The database behind the store, where `on_both` asks for one; else memory."""
    real = getattr(request, "param", "memory") == "postgres"
    return str(request.getfixturevalue("database_url")) if real else None
