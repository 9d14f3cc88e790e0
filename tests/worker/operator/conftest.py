"""A yard for each test, with nothing in it yet."""

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from tests.conftest import Prepare
from tests.worker.operator.yard import Yard, memory_yard, migrated


@pytest.fixture
def prepare() -> Prepare | None:
    """Each test has a database with all tables."""
    return migrated


@pytest.fixture
async def yard(database_url: str, logged: list[MutableMapping[str, Any]]) -> AsyncIterator[Yard]:
    """A real PostgreSQL, a log in memory, and no worker running. What is logged is kept, not printed."""
    async with memory_yard(database_url) as made:
        yield made
