"""The stores that the contract runs on: each test that takes `store` runs on all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from eventstore.memory.store import MemoryStore
from eventstore.postgres.migrations import connect, migrate
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.store import Store
from tests.conftest import Prepare
from tests.eventstore.rows import now

SHARDS = 4
WAIT_S_MAX = 60.0


@pytest.fixture
def prepare() -> Prepare | None:
    """Each test has a migrated database."""
    return make_log


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def backing(request: pytest.FixtureRequest) -> str | None:
    """The database behind the store; `None` for memory."""
    return str(request.getfixturevalue("database_url")) if request.param == "postgres" else None


@pytest.fixture
async def store(backing: str | None) -> AsyncIterator[Store]:
    """An empty store of four shards."""
    opened = await open_store(backing)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresStore]:
    """An empty store of four shards in Postgres, for what only Postgres can get wrong."""
    opened = await PostgresStore.open(database_url, WORKER)
    yield opened
    await opened.close()


async def make_log(url: str) -> None:
    """The tables of an empty log."""
    connection = await connect(url)
    await migrate(connection, shards=SHARDS)
    await connection.close()


async def open_store(backing: str | None) -> Store:
    """A store on a migrated database or in memory."""
    return MemoryStore(SHARDS, now) if backing is None else await PostgresStore.open(backing, WORKER)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for the condition, and not for ever."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not await condition():
            await asyncio.sleep(0.01)
