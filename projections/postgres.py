"""Documents in PostgreSQL: one table for each collection, written in the event store's own transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eventstore.postgres.pool import Pool
from eventstore.postgres.rounds import PostgresRound
from eventstore.postgres.statement import TableChange
from eventstore.postgres.texts import joined, text_of, unnested
from eventstore.store import Round
from projections.document_tables import table_of
from projections.documents import Change, Row

GET = "SELECT doc::text FROM {table} WHERE shard = $1 AND key = $2"

# Each by its own look-up of the primary key, whatever the planner knows of a fresh table.
GET_MANY = """
SELECT document.key, document.doc::text
FROM unnest($1::integer[], $2::text[]) AS wanted (shard, key)
CROSS JOIN LATERAL (
    SELECT key, doc FROM {table} AS stored WHERE stored.shard = wanted.shard AND stored.key = wanted.key LIMIT 1
) AS document
"""

FIND = "SELECT shard, doc::text FROM {table} WHERE key = $1 LIMIT 1"

PAGE = """
SELECT shard, key, sort, doc::text FROM {table}
WHERE shard = $1 AND owner = $2{conditions}
ORDER BY sort {direction}, key {direction}
LIMIT $3
"""

PAGE_EVERYWHERE = """
SELECT shard, key, sort, doc::text FROM {table}
WHERE owner = $1{conditions}
ORDER BY sort {direction}, key {direction}
LIMIT $2
"""

NEWER = """
SELECT newer.shard, newer.key, newer.sort, newer.doc::text
FROM unnest($1::integer[], $2::text[]) AS reached (shard, sort)
CROSS JOIN LATERAL (
    SELECT shard, key, sort, doc FROM {table} AS document
    WHERE document.shard = reached.shard AND document.sort > reached.sort
    ORDER BY document.sort, document.key
    LIMIT $3
) AS newer
ORDER BY newer.sort, newer.key
LIMIT $3
"""

LOAD = """
SELECT '{collection}' AS collection, document.key, document.doc::text
FROM unnest({shards}::integer[], {keys}::text[]) AS wanted (shard, key)
CROSS JOIN LATERAL (
    SELECT key, doc FROM {table} AS stored WHERE stored.shard = wanted.shard AND stored.key = wanted.key LIMIT 1
) AS document
"""

SAVE = """
INSERT INTO {table} (shard, key, owner, sort, doc)
SELECT shard::integer, key, owner, sort, doc::jsonb
FROM {rows} AS changed (shard, key, owner, sort, doc)
ON CONFLICT (shard, key) DO UPDATE SET owner = excluded.owner, sort = excluded.sort, doc = excluded.doc
"""

VERSIONS = "SELECT collection, version FROM read_models"

REMOVE = """
DELETE FROM {table} AS document
USING unnest({{0}}::integer[], {{1}}::text[]) AS removed (shard, key)
WHERE document.shard = removed.shard AND document.key = removed.key
"""


class PostgresDocuments:
    """See `documents.DocumentStore`. The tables are made by `document_tables.migrate_documents`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, collection: str, shard: int, key: str) -> bytes | None:
        """See `documents.DocumentReader`."""
        doc = await self._pool.fetchval(GET.format(table=table_of(collection)), shard, key)
        return None if doc is None else str(doc).encode()

    async def get_many(self, collection: str, places: Iterable[tuple[int, str]]) -> dict[str, bytes]:
        """See `documents.DocumentReader`."""
        wanted = list(places)
        if not wanted:
            return {}
        sql = GET_MANY.format(table=table_of(collection))
        rows = await self._pool.fetch(sql, [shard for shard, _ in wanted], [key for _, key in wanted])
        return {row["key"]: row["doc"].encode() for row in rows}

    async def find(self, collection: str, key: str) -> tuple[int, bytes] | None:
        """See `documents.DocumentReader`."""
        row = await self._pool.fetchrow(FIND.format(table=table_of(collection)), key)
        return None if row is None else (row["shard"], row["doc"].encode())

    async def page(
        self,
        collection: str,
        shard: int,
        owner: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: tuple[str, str] | None = None,
        sort_from: str | None = None,
        sort_to: str | None = None,
    ) -> list[Row]:
        """See `documents.DocumentReader`."""
        arguments: list[Any] = [shard, owner, limit]
        conditions = ""
        for condition, value in (("sort >= {}", sort_from), ("sort < {}", sort_to)):
            if value is not None:
                arguments.append(value)
                conditions += " AND " + condition.format(f"${len(arguments)}")
        if after is not None:
            conditions += (
                f" AND (sort, key) {'<' if newest_first else '>'} (${len(arguments) + 1}, ${len(arguments) + 2})"
            )
            arguments += after
        direction = "DESC" if newest_first else "ASC"
        sql = PAGE.format(table=table_of(collection), conditions=conditions, direction=direction)
        return [_row(row) for row in await self._pool.fetch(sql, *arguments)]

    async def page_everywhere(
        self,
        collection: str,
        owner: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: tuple[str, str] | None = None,
    ) -> list[Row]:
        """See `documents.DocumentReader`."""
        behind = f" AND (sort, key) {'<' if newest_first else '>'} ($3, $4)" if after is not None else ""
        direction = "DESC" if newest_first else "ASC"
        sql = PAGE_EVERYWHERE.format(table=table_of(collection), conditions=behind, direction=direction)
        return [_row(row) for row in await self._pool.fetch(sql, owner, limit, *(after or ()))]

    async def newer(self, collection: str, positions: Mapping[int, str], limit: int) -> list[Row]:
        """See `documents.DocumentReader`."""
        sql = NEWER.format(table=table_of(collection))
        return [_row(row) for row in await self._pool.fetch(sql, list(positions), list(positions.values()), limit)]

    async def load(
        self, round_: Round, wanted: Mapping[str, Iterable[tuple[int, str]]]
    ) -> dict[tuple[str, str], bytes]:
        """See `documents.DocumentStore`."""
        assert isinstance(round_, PostgresRound)
        selects: list[str] = []
        arguments: list[list[Any]] = []
        for collection, places in wanted.items():
            pairs = list(places)
            if pairs:
                arguments += [[shard for shard, _ in pairs], [key for _, key in pairs]]
                shards, keys = f"${len(arguments) - 1}", f"${len(arguments)}"
                table = table_of(collection)
                selects.append(LOAD.format(collection=collection, table=table, shards=shards, keys=keys))
        if not selects:
            return {}
        rows = await round_.fetch("UNION ALL".join(selects), *arguments)
        return {(row["collection"], row["key"]): row["doc"].encode() for row in rows}

    async def save(self, round_: Round, changes: Mapping[str, Sequence[Change]]) -> None:
        """See `documents.DocumentStore`."""
        assert isinstance(round_, PostgresRound)
        round_.stage([each for collection, changed in changes.items() for each in _table_changes(collection, changed)])

    async def versions(self) -> dict[str, int]:
        """See `documents.DocumentStore`."""
        return {row["collection"]: row["version"] for row in await self._pool.fetch(VERSIONS)}


def _row(row: Any) -> Row:
    return Row(shard=row["shard"], key=row["key"], sort=row["sort"], doc=row["doc"].encode())


def _table_changes(collection: str, changed: Sequence[Change]) -> list[TableChange]:
    """An upsert of what is kept and a deletion of what is removed; of several changes of a key the last stays."""
    table = table_of(collection)
    if len({change.key for change in changed}) < len(changed):
        changed = list({(change.shard, change.key): change for change in changed}.values())
    kept = [change for change in changed if change.doc is not None]
    removed = [change for change in changed if change.doc is None] if len(kept) < len(changed) else ()
    written = []
    if kept:
        columns = [
            [str(change.shard) for change in kept],
            [change.key for change in kept],
            [change.owner for change in kept],
            [change.sort for change in kept],
            [text_of(change.doc or b"") for change in kept],
        ]
        sql = SAVE.format(table=table, rows=unnested(len(columns)))
        written.append(TableChange(name=f"{table}_saved", sql=sql, arguments=joined(columns)))
    if removed:
        arguments = [[change.shard for change in removed], [change.key for change in removed]]
        written.append(TableChange(name=f"{table}_removed", sql=REMOVE.format(table=table), arguments=arguments))
    return written
