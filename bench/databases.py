"""Migrated databases for benchmarks, and what is asked of them while a worker fills them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from devnet.servers import PostgresServer, create_database, drop_database
from eventstore.postgres import migrations
from eventstore.shards import SHARDS_DEFAULT
from projections.document_tables import migrate_documents

POLL_S = 0.02
READ_FROM_THE_START = "UPDATE shard_head SET next_offset = 0, last_digest = '', owner = NULL"
APPLIED = "SELECT sum(next_offset)::bigint FROM shard_head"


@asynccontextmanager
async def migrated_database(server: PostgresServer) -> AsyncIterator[str]:
    """The address of an empty migrated database, dropped at the end."""
    url = await create_database(server.url)
    connection = await migrations.connect(url)
    try:
        await migrations.migrate(connection, shards=SHARDS_DEFAULT)
        await migrate_documents(connection)
    finally:
        await connection.close()
    yield url
    await drop_database(server.url, url)


async def read_from_the_start(url: str) -> None:
    """Lets workers take another topic for this database's log; none may be running."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(READ_FROM_THE_START)
    finally:
        await connection.close()


async def until_applied(url: str, count: int, timeout_s: float) -> tuple[float, int]:
    """Waits until workers have applied `count` records; answers when that was seen, and how many there were."""
    connection = await asyncpg.connect(url)
    try:
        applied = 0
        end = time.perf_counter() + timeout_s
        while time.perf_counter() < end:
            applied = int(await connection.fetchval(APPLIED))
            if applied >= count:
                return time.perf_counter(), applied
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()
    raise TimeoutError(f"{applied} of {count} commands were applied in {timeout_s:.0f} s")
