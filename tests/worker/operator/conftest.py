"""A yard for each test, with nothing in it yet."""

from collections.abc import AsyncIterator

import pytest

from tests.worker.operator.yard import Yard, memory_yard


@pytest.fixture
async def yard(database_url: str) -> AsyncIterator[Yard]:
    """A real PostgreSQL, a log in memory, and no worker running."""
    async with memory_yard(database_url) as made:
        yield made
