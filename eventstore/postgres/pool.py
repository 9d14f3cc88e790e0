"""Connections to PostgreSQL: who we say we are, what a session is set to, and how long anything may take."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from eventstore.postgres.driver_errors import translated

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
DirectConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WORKER = "formstate-worker"
"""`application_name` of workers: a claim ends backends of this name alone."""
API = "formstate-api"
OPERATOR = "formstate-operator"

CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 1.5
"""How long a statement waits for another transaction: longer than a batch may take, and than Postgres needs to find
out that two transactions wait for each other, so that only one of them has to begin again."""
_IDLE_LIFETIME_S = 300.0

# Every query here is a look-up by index, of a few up to some thousand rows. Without these settings the planner
# reads whole tables while their statistics are missing or old, or when a batch is large (lessons, Databases).
# They do not keep it from going through all of a table that it takes for tiny, and looking each row up in the batch:
# a table that was analysed while it was empty costs its square until it is analysed again. So statements that look
# up rows of a table that grows join it as LATERAL with a LIMIT (or OFFSET), which leaves the planner no other order.
_LOOKUPS_ONLY = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


def session_settings(application: str) -> dict[str, str]:
    """What each session of a worker or of an API process is set to."""
    return _LOOKUPS_ONLY | {
        "application_name": application,
        "timezone": "UTC",
        "statement_timeout": f"{STATEMENT_TIMEOUT_S:.0f}s",
        "lock_timeout": f"{LOCK_TIMEOUT_S * 1_000:.0f}ms",
        # A process that stands still in the middle of a transaction holds nothing for longer than this, even if
        # nobody waits for it. A shard's successor does not wait for it: see `leases`.
        "idle_in_transaction_session_timeout": "30s",
        "work_mem": "32MB",
    }


async def _keep_session(_connection: DirectConnection) -> None:
    """Nothing that a connection does outlives its transaction, so asyncpg need not reset the session each time."""


class Pool:
    """Connections that are opened when they are needed, so that a server that is away is an error of each call."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, application: str, *, connections_max: int) -> "Pool":
        """A pool for `url` (a libpq URI). Connects to nothing yet."""
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections_max,
            max_inactive_connection_lifetime=_IDLE_LIFETIME_S,
            timeout=CONNECT_TIMEOUT_S,
            # The server's own limit comes first; this one notices a server that stands still or is cut off.
            command_timeout=STATEMENT_TIMEOUT_S + 5,
            server_settings=session_settings(application),
            reset=_keep_session,
        )
        with translated():
            await pool
        return cls(pool)

    async def acquire(self) -> Connection:
        """A connection to be given back by `release`; `Unavailable` if none can be had in time."""
        with translated():
            return await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)

    async def release(self, connection: Connection) -> None:
        """Gives a connection back. One that broke is dropped without an error: what it did is done or undone."""
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await self._pool.release(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the length of the block, in which only the database is used."""
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows of one statement."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row of one statement."""
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first value of the first row, or `None`."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def close(self) -> None:
        """Waits up to 5 s for what is under way, and closes all connections; what is left after that is cut."""
        with translated():
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
            except BaseException:
                self._pool.terminate()
                raise


class Part:
    """A part of the store that needs nothing but the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
