"""Fixtures of the gateway's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.api.gateway.place import Place, running_place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """The whole product in one process, with a provider that answers at once."""
    async with running_place() as started:
        yield started
