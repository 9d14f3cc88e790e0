"""Looks at the database from outside: who owns which shard, and which process is in the middle of a transaction."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg
from msgspec import Struct

from tests.crash.deployment import Process

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises while its server goes and comes."""

SESSIONS = """
SELECT client_port, coalesce(query, '') AS query, backend_xid::text AS xid, wait_event
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'formstate-worker' AND xact_start IS NOT NULL
    AND state IN ('active', 'idle in transaction')
"""

OWNERS = """
SELECT shard, CASE WHEN lease_until > clock_timestamp() THEN owner END AS owner FROM shard_head ORDER BY shard
"""

MARKS = (
    ("COPY", "copy"),
    ("COMMIT", "commit"),
    ("_heads AS (", "write"),
    ("outcomes_written AS (", "write"),
    ("progress_made AS (", "write"),
    ("AS wanted (shard, ", "read"),
    ("FROM shard_head\nWHERE shard = ANY", "lock"),
    ("BEGIN", "begin"),
)
"""What a round's statements, and no others of a worker's, have in their first kilobyte, which is all that the server
shows, and the step of the round that they are."""


class Transaction(Struct, frozen=True, kw_only=True):
    """A worker's open round."""

    process: Process
    step: str
    """Of the statement that was sent last: see `MARKS`."""
    xid: str | None
    """The transaction's number once it has written something."""
    wait_event: str | None


class Observer:
    """Connections that are none of the product's; a server that went away is reached again when it is back."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def transactions(self, workers: Iterable[Process]) -> list[Transaction]:
        """The rounds that are open now, with the processes whose they are."""
        rows = await self._pool.fetch(SESSIONS)
        ports = {port: worker for worker in workers for port in worker.client_ports()} if rows else {}
        found = []
        for row in rows:
            process, step = ports.get(row["client_port"]), _step(row["query"])
            if process is not None and step is not None:
                found.append(Transaction(process=process, step=step, xid=row["xid"], wait_event=row["wait_event"]))
        return found

    async def owned(self) -> Counter[str]:
        """How many shards each worker has a lease on."""
        return Counter(row["owner"] for row in await self._pool.fetch(OWNERS) if row["owner"])

    async def owners(self) -> dict[int, str | None]:
        """The holder of each shard's lease."""
        return {row["shard"]: row["owner"] for row in await self._pool.fetch(OWNERS)}

    async def stopped(self) -> dict[int, str]:
        """Why shards may not be applied, by shard."""
        rows = await self._pool.fetch("SELECT shard, stopped FROM shard_head WHERE stopped IS NOT NULL")
        return {row["shard"]: row["stopped"] for row in rows}

    async def applied(self) -> int | None:
        """Records applied so far, of all shards; `None` while the server is away."""
        with contextlib.suppress(*AWAY):
            return int(await self._pool.fetchval("SELECT sum(next_offset) FROM shard_head", timeout=5))
        return None

    async def positions(self) -> dict[int, int]:
        """The next offset of each shard."""
        return {row["shard"]: row["next_offset"] for row in await self._pool.fetch("SELECT * FROM shard_head")}

    @asynccontextmanager
    async def events_locked(self) -> AsyncIterator[None]:
        """Lets nobody write events for the length of the block; rounds that are about to do so wait."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE events IN SHARE MODE")
            yield

    async def fate(self, xid: str) -> str:
        """What became of a transaction: `committed`, `aborted` or `in progress`."""
        return str(await self._pool.fetchval("SELECT pg_xact_status($1::text::xid8)", xid))


def _step(query: str) -> str | None:
    return next((step for mark, step in MARKS if mark in query), None)


async def even_shares(observer: Observer, workers: Iterable[Process], shards: int) -> bool:
    """Tells whether these workers, and no others, own all shards and none has more than its even share."""
    names = {worker.worker_name for worker in workers}
    owned = await observer.owned()
    share = -(-shards // max(len(names), 1))
    return set(owned) == names and sum(owned.values()) == shards and max(owned.values()) <= share
