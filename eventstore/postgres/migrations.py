"""Makes and keeps the tables. Each migration leaves them fit for the release before, which runs meanwhile.

A migration is a file of `schema/`, applied in the order of names, once, in a transaction of its own under an advisory
lock, so that it does not matter how many processes migrate at once. What is new on disk is written only once every
process is of the new release and an operator has raised the level by `migrate --activate`.
"""

from importlib import resources

import asyncpg
from msgspec import Struct

from eventstore.errors import Unmigrated
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import CONNECT_TIMEOUT_S, OPERATOR, DirectConnection, Part
from eventstore.shards import SHARDS_DEFAULT

LEVEL = 1
"""What this release may write at most, once `--activate` was called with it."""

ADVISORY_LOCK = 0x464F524D  # "FORM"
"""Held by whoever changes tables; the document tables use it too."""

LOCK = "SELECT pg_advisory_xact_lock($1)"

PREPARE = """
CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())
"""

IS_APPLIED = "SELECT true FROM migrations WHERE name = $1"

APPLIED = "INSERT INTO migrations (name) VALUES ($1)"

FIX_SHARDS = "INSERT INTO meta (shards, level) VALUES ($1, $2) ON CONFLICT (single) DO NOTHING"

ADD_SHARD_HEADS = """
INSERT INTO shard_head (shard) SELECT generate_series(0, shards - 1) FROM meta ON CONFLICT (shard) DO NOTHING
"""

ACTIVATE = "UPDATE meta SET level = $1 WHERE level < $1"

STATE = "SELECT shards, level, (SELECT array_agg(name) FROM migrations) AS applied FROM meta"


class Migrated(Struct, frozen=True, kw_only=True):
    """The database after `migrate`."""

    applied: tuple[str, ...]
    """What this call has applied."""
    shards: int
    level: int


def migrations() -> dict[str, str]:
    """The SQL of each migration of this release by name, in order."""
    files = resources.files("eventstore.postgres").joinpath("schema").iterdir()
    found = {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in files if file.name.endswith(".sql")}
    return dict(sorted(found.items()))


async def connect(url: str) -> DirectConnection:
    """An operator's connection: statements may take long, but wait only briefly for locks that hold up others."""
    with translated():
        return await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": OPERATOR, "lock_timeout": "60s", "jit": "off"},
        )


async def migrate(connection: DirectConnection, *, shards: int | None = None, activate: bool = False) -> Migrated:
    """Applies what is missing. The first call fixes the number of shards; `Unmigrated` if it is another by now."""
    with translated():
        applied = [name for name, sql in migrations().items() if await _apply(connection, name, sql)]
        async with connection.transaction():
            await connection.execute(LOCK, ADVISORY_LOCK)
            await connection.execute(FIX_SHARDS, shards or SHARDS_DEFAULT, LEVEL)
            await connection.execute(ADD_SHARD_HEADS)
            if activate:
                await connection.execute(ACTIVATE, LEVEL)
            row = await connection.fetchrow(STATE)
    assert row is not None
    if shards is not None and shards != row["shards"]:
        raise Unmigrated(f"this database has {row['shards']} shards for life, not {shards}")
    return Migrated(applied=tuple(applied), shards=row["shards"], level=row["level"])


async def _apply(connection: DirectConnection, name: str, sql: str) -> bool:
    async with connection.transaction():
        await connection.execute(LOCK, ADVISORY_LOCK)
        await connection.execute(PREPARE)
        if await connection.fetchval(IS_APPLIED, name):
            return False
        await connection.execute(sql)
        await connection.execute(APPLIED, name)
        return True


class Meta(Part):
    """What `migrate` has fixed."""

    async def shards(self) -> int:
        """See `store.ShardStore`. Also `Unmigrated` while the database and this release do not fit."""
        return int((await self._state())["shards"])

    async def level(self) -> int:
        """What may be written: see `migrate --activate`."""
        return int((await self._state())["level"])

    async def _state(self) -> asyncpg.Record:
        row = await self._pool.fetchrow(STATE)
        if row is None:
            raise Unmigrated("the database is empty: run `python -m worker migrate`")
        missing = migrations().keys() - set(row["applied"])
        if missing:
            raise Unmigrated(f"migrations {sorted(missing)} are missing: run `python -m worker migrate`")
        if row["level"] > LEVEL:
            raise Unmigrated(f"the database is at level {row['level']}, this release knows {LEVEL}: upgrade it")
        return row
