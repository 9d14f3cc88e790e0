"""Tables of read models that are rebuilt beside the live ones: how far each is, and how they become the live ones.

All of it is the database's: a rebuild that was interrupted, by whatever, goes on where its last commit was.
"""

import zlib
from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from eventstore.postgres.migrations import ADVISORY_LOCK, LOCK
from eventstore.postgres.pool import DirectConnection
from projections.document_tables import FENCE, create_table, fillfactor_of, note_version, table_of
from projections.projection import AnyProjection

REBUILD_LOCK = 0x52454255  # "REBU"
"""The first of two numbers of the advisory lock that a rebuild of one collection holds; the other names it."""

LOCK_COLLECTION = "SELECT pg_try_advisory_lock($1, $2)"

PROGRESS_TABLE = """
CREATE TABLE IF NOT EXISTS rebuild_progress (
    collection text COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    version integer NOT NULL,
    bound bigint NOT NULL,
    stream text COLLATE "C" NOT NULL DEFAULT '',
    stream_version bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (collection, shard)
)
"""

# Nobody tidies up while the bulk goes in, and there is no index: made at once from what is there, indexes cost a
# quarter of being kept up row by row.
BARE_TABLE = """
CREATE TABLE {table} (
    shard integer NOT NULL,
    key text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    sort text COLLATE "C" NOT NULL,
    doc jsonb NOT NULL
) WITH (fillfactor = {fillfactor}, autovacuum_enabled = off)
"""
LOOKED_AFTER = "ALTER TABLE {table} RESET (autovacuum_enabled)"

HAS_PRIMARY_KEY = "SELECT true FROM pg_index WHERE indrelid = $1::regclass AND indisprimary"
ALONE = "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
PRIMARY_KEY = "ALTER TABLE {table} ADD PRIMARY KEY (shard, key)"

# Figures of whole documents cost more than the rest of this table's making, and no query asks for them. Nor does one
# ask for more than about how many documents there are: all are look-ups (`pool`). A sample of 3,000 rows tells that.
FEW_FIGURES = "SET LOCAL default_statistics_target = 10"
ANALYZE = "ANALYZE {table} (shard, key, owner, sort)"
# Several tables get their indexes side by side already: helpers for each of these only cost.
NO_HELPERS = "SET LOCAL max_parallel_maintenance_workers = 0"

DROP_BRIEFLY = "SET LOCAL lock_timeout = '1s'"

FORGET = "DELETE FROM rebuild_progress WHERE collection = $1"

# One statement, so that all collections begin with the same bounds while the workers go on.
BEGIN = """
INSERT INTO rebuild_progress (collection, shard, version, bound)
SELECT begun.collection, head.shard, begun.version, head.seq
FROM unnest($1::text[], $2::integer[]) AS begun (collection, version) CROSS JOIN shard_head AS head
"""

READ = """
SELECT collection, shard, version, bound, stream, stream_version, seq
FROM rebuild_progress
WHERE collection = ANY ($1::text[])
ORDER BY shard
"""

# Only from where this rebuild left it: of two that believe to be the only one, the second fails.
MOVE = """
UPDATE rebuild_progress SET stream = $6, stream_version = $7, seq = $8
WHERE collection = ANY ($1::text[]) AND shard = $2 AND stream = $3 AND stream_version = $4 AND seq = $5
"""

INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = $1 ORDER BY indexname"


class AlreadyRebuilding(Exception):
    """Somebody else is rebuilding this collection."""


class Disturbed(Exception):
    """The progress is not where this rebuild left it."""


class Place(Struct, frozen=True, kw_only=True):
    """How far one shard is: stream by stream up to `bound` first, then in the log's order from there.

    While `seq` < `bound` the streams up to (`stream`, `stream_version`) are in; then all events up to `seq` are.
    """

    bound: int
    stream: str = ""
    stream_version: int = 0
    seq: int = 0

    @property
    def bulk(self) -> bool:
        """The shard is still being read stream by stream."""
        return self.seq < self.bound


def rebuild_table_of(collection: str) -> str:
    """The table that will take the live one's place."""
    return f"{table_of(collection)}__rebuild"


def _old_table_of(collection: str) -> str:
    return f"{table_of(collection)}__old"


async def lock_collections(connection: DirectConnection, collections: Sequence[str]) -> None:
    """Takes the right to rebuild, for as long as the connection lives. `AlreadyRebuilding` if another has it."""
    for collection in collections:
        number = zlib.crc32(collection.encode()) - 2**31
        if not await connection.fetchval(LOCK_COLLECTION, REBUILD_LOCK, number):
            raise AlreadyRebuilding(f"{collection} is being rebuilt by somebody else")


async def begin_or_resume(connection: DirectConnection, projections: Sequence[AnyProjection]) -> dict[int, Place]:
    """Where each shard is. What cannot be gone on with, since it is of other versions or steps apart, begins anew."""
    names = [projection.collection for projection in projections]
    async with connection.transaction():
        await connection.execute(LOCK, ADVISORY_LOCK)
        await connection.execute(PROGRESS_TABLE)
        places = await _read(connection, projections)
        if places is None:
            for projection in projections:
                table = rebuild_table_of(projection.collection)
                await connection.execute(f"DROP TABLE IF EXISTS {table}")
                await connection.execute(BARE_TABLE.format(table=table, fillfactor=fillfactor_of(projection)))
                await connection.execute(FORGET, projection.collection)
            await connection.execute(BEGIN, names, [projection.version for projection in projections])
            places = await _read(connection, projections)
    assert places is not None, f"the progress of {names} was written a moment ago"
    return places


async def _read(connection: DirectConnection, projections: Sequence[AnyProjection]) -> dict[int, Place] | None:
    """The places that all of the collections share, or `None` if they have none or differ."""
    versions = {projection.collection: projection.version for projection in projections}
    places: dict[str, dict[int, Place]] = {name: {} for name in versions}
    for row in await connection.fetch(READ, list(versions)):
        if row["version"] != versions[row["collection"]]:
            return None
        place = Place(bound=row["bound"], stream=row["stream"], stream_version=row["stream_version"], seq=row["seq"])
        places[row["collection"]][row["shard"]] = place
    first, *others = places.values()
    if not first or any(other != first for other in others):
        return None
    return first


async def move(
    connection: DirectConnection, collections: Sequence[str], shard: int, before: Place, after: Place
) -> None:
    """Notes progress in the transaction that makes it. `Disturbed` if somebody else has moved it."""
    moved = await connection.execute(
        MOVE,
        list(collections),
        shard,
        before.stream,
        before.stream_version,
        before.seq,
        after.stream,
        after.stream_version,
        after.seq,
    )
    if moved != f"UPDATE {len(collections)}":
        raise Disturbed(f"somebody else is rebuilding shard {shard} of {', '.join(collections)}")


async def add_primary_key(connection: DirectConnection, collection: str) -> None:
    """Lets documents be found in a table that is being rebuilt; nothing if they can be."""
    table = rebuild_table_of(collection)
    if await connection.fetchval(HAS_PRIMARY_KEY, table):
        return
    async with connection.transaction():
        await connection.execute(ALONE.format(table=table))
        if not await connection.fetchval(HAS_PRIMARY_KEY, table):
            await connection.execute(NO_HELPERS)
            await connection.execute(PRIMARY_KEY.format(table=table))


async def finish_table(connection: DirectConnection, projection: AnyProjection) -> None:
    """Gives a table the indexes that the live one has, and the planner its figures."""
    table = rebuild_table_of(projection.collection)
    await add_primary_key(connection, projection.collection)
    async with connection.transaction():
        await connection.execute(NO_HELPERS)
        await create_table(connection, projection, table)
    async with connection.transaction():
        await connection.execute(FEW_FIGURES)
        await connection.execute(ANALYZE.format(table=table))
        await connection.execute(LOOKED_AFTER.format(table=table))


async def take_place(connection: DirectConnection, projections: Sequence[AnyProjection]) -> None:
    """Makes the rebuilt tables the live ones, inside a transaction that has locked all shards, and fences all lanes.

    The old ones stay until `drop_old`: their files are many, and nobody should wait for their going.
    """
    for projection in projections:
        live, rebuilt = table_of(projection.collection), rebuild_table_of(projection.collection)
        await _rename(connection, live, _old_table_of(projection.collection))
        await _rename(connection, rebuilt, live)
        await connection.execute(FORGET, projection.collection)
        await note_version(connection, projection)
    await connection.execute(FENCE)


async def drop_old(connection: DirectConnection, projections: Sequence[AnyProjection]) -> list[str]:
    """Removes the tables that were live before; answers those that somebody still reads, such as a backup.

    One by one: whoever waits for a lock with others in its hands meets a backup, which takes one after the other too.
    """
    tables, left = [_old_table_of(projection.collection) for projection in projections], []
    for table in tables:
        try:
            async with connection.transaction():
                await connection.execute(DROP_BRIEFLY)
                await connection.execute(f"DROP TABLE IF EXISTS {table}")
        except asyncpg.LockNotAvailableError:
            left.append(table)
    return left


async def _rename(connection: DirectConnection, table: str, name: str) -> None:
    await connection.execute(f"ALTER TABLE IF EXISTS {table} RENAME TO {name}")
    for row in await connection.fetch(INDEXES, name):
        index = row["indexname"]
        await connection.execute(f'ALTER INDEX "{index}" RENAME TO "{index.replace(table, name, 1)}"')
