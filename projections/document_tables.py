"""The tables of documents: one for each collection, made from what its projection says about itself."""

import re
from collections.abc import Iterable, Sequence

from eventstore.postgres.driver_errors import translated
from eventstore.postgres.migrations import ADVISORY_LOCK, LOCK
from eventstore.postgres.pool import DirectConnection
from projections.projection import AnyProjection
from projections.registry import all_projections
from projections.versions import outdated

# Room in the page for the next version of a document: then an update that changes no indexed column touches no
# index. One that is written once needs none. Texts compare bytewise, as they do in Python.
TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    shard integer NOT NULL,
    key text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    sort text COLLATE "C" NOT NULL,
    doc jsonb NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = {fillfactor})
"""

# An index is kept only where a reader asks for it: each one costs every new document a page of its own.
OWNED = "CREATE INDEX IF NOT EXISTS {table}_owned ON {table} (shard, owner, sort, key)"
NOT_OWNED = "DROP INDEX IF EXISTS {table}_owned"
BY_KEY = "CREATE INDEX IF NOT EXISTS {table}_by_key ON {table} (key)"
NOT_BY_KEY = "DROP INDEX IF EXISTS {table}_by_key"
NEWEST = "CREATE INDEX IF NOT EXISTS {table}_newest ON {table} (shard, sort, key)"
NOT_NEWEST = "DROP INDEX IF EXISTS {table}_newest"
OWNED_EVERYWHERE = "CREATE INDEX IF NOT EXISTS {table}_owned_everywhere ON {table} (owner, sort, key)"
NOT_OWNED_EVERYWHERE = "DROP INDEX IF EXISTS {table}_owned_everywhere"

VERSIONS = "SELECT collection, version FROM read_models"
FORGET = "DELETE FROM read_models WHERE collection = ANY ($1::text[]) RETURNING collection"
FORGET_OTHERS = "DELETE FROM read_models WHERE collection <> ALL ($1::text[])"
# Answers only where that is news.
NOTE = """
INSERT INTO read_models AS stored (collection, version) VALUES ($1, $2)
ON CONFLICT (collection) DO UPDATE SET version = excluded.version WHERE stored.version <> excluded.version
RETURNING true
"""
HAS_EVENTS = "SELECT EXISTS (SELECT FROM shard_head WHERE seq > 0)"
LOCK_HEADS = "SELECT shard FROM shard_head ORDER BY shard FOR UPDATE"
# Every lane is fenced by its next commit, drops its documents, and claims its shards anew: if its release may.
FENCE = "UPDATE shard_head SET owner = NULL, epoch = epoch + 1"


def table_of(collection: str) -> str:
    """The table of a collection; fit to stand in a statement as it is."""
    assert re.fullmatch("[a-z][a-z0-9_]{0,40}", collection), f"{collection!r} cannot name a table"
    return f"rm_{collection}"


def fillfactor_of(projection: AnyProjection) -> int:
    """How full a page may become by new documents, in percent."""
    return 100 if projection.written_once else 80


async def create_table(connection: DirectConnection, projection: AnyProjection, table: str) -> None:
    """Makes a table for the projection's documents with the indexes they need; what is there already stays."""
    owned = OWNED if projection.listed else NOT_OWNED
    by_key = BY_KEY if projection.found_by_key else NOT_BY_KEY
    newest = NEWEST if projection.followed else NOT_NEWEST
    everywhere = OWNED_EVERYWHERE if projection.listed_everywhere else NOT_OWNED_EVERYWHERE
    for sql in (TABLE, owned, by_key, newest, everywhere):
        await connection.execute(sql.format(table=table, fillfactor=fillfactor_of(projection)))


async def migrate_documents(
    connection: DirectConnection, projections: Iterable[AnyProjection] | None = None, *, forget: Sequence[str] = ()
) -> list[str]:
    """Makes the tables of all projections, or of those given; it does not matter how many processes do it at once.

    `forget` names collections that nobody keeps from now on: every worker has to look whether its release does.
    Answers the collections that `rebuild` has to make, since the log has events that they do not hold.
    """
    wanted = list(all_projections().values() if projections is None else projections)
    with translated():
        async with connection.transaction():
            await connection.execute(LOCK, ADVISORY_LOCK)
            for projection in wanted:
                await create_table(connection, projection, table_of(projection.collection))
            if forget and await connection.fetch(FORGET, list(forget)):
                await connection.execute(FENCE)
            if not await connection.fetchval(HAS_EVENTS):
                await _note_all(connection, wanted)
            stored = {row["collection"]: row["version"] for row in await connection.fetch(VERSIONS)}
    return outdated(stored, wanted)


async def unknown_collections(connection: DirectConnection, collections: Iterable[str]) -> list[str]:
    """Those of them that are stored by nobody: a typo, or forgotten already."""
    with translated():
        stored = {row["collection"] for row in await connection.fetch(VERSIONS)}
    return sorted(set(collections) - stored)


async def note_version(connection: DirectConnection, projection: AnyProjection) -> None:
    """Says that the live table holds all of the log, inside the transaction that makes it so."""
    await connection.execute(NOTE, projection.collection, projection.version)


async def _note_all(connection: DirectConnection, projections: Sequence[AnyProjection]) -> None:
    """Of an empty log every read model is complete. No worker of another release may begin to write meanwhile."""
    await connection.execute(LOCK_HEADS)
    if await connection.fetchval(HAS_EVENTS):
        return
    await connection.execute(FORGET_OTHERS, [each.collection for each in projections])
    noted = [await connection.fetchval(NOTE, each.collection, each.version) for each in projections]
    if any(noted):
        await connection.execute(FENCE)
