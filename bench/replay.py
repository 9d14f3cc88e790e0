"""The worker's ceiling: one process that writes the very rows of recorded batches in bulk and decides nothing.

New rows go in by COPY, changed ones by one UPDATE a table from arrays, in the transactions of the recording, one after
the other or side by side on as many connections as the worker has lanes. Everything is laid out before the clock
starts, and neither reads nor conflicts are looked for.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from msgspec import Struct, field, structs

from bench.recording import Written
from eventstore.postgres.pool import WORKER, session_settings
from eventstore.records import Batch, Outcome, StoredEvent, StreamHead
from projections.document_tables import table_of
from projections.documents import Change

HEAD_COLUMNS = StreamHead.__struct_fields__
DOCUMENT_COLUMNS = ("shard", "key", "owner", "sort", "doc")

MOVE_HEADS = """
UPDATE stream_head AS head SET version = moved.version, mac = moved.mac, due_at = moved.due_at
FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[])
    AS moved (shard, stream, version, mac, due_at)
WHERE head.shard = moved.shard AND head.stream = moved.stream
"""
CHANGE_DOCUMENTS = """
UPDATE {table} AS document SET owner = changed.owner, sort = changed.sort, doc = changed.doc::jsonb
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[]) AS changed (shard, key, owner, sort, doc)
WHERE document.shard = changed.shard AND document.key = changed.key
"""
PROGRESS = """
UPDATE shard_head AS head SET next_offset = progress.next_offset, seq = progress.seq, last_digest = progress.last_digest
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bytea[]) AS progress (shard, next_offset, seq, last_digest)
WHERE head.shard = progress.shard
"""


class Bulk(Struct, kw_only=True):
    """One transaction, laid out: rows for COPY by table with its columns, and statements with their arguments."""

    commands: int
    shards: frozenset[int]
    copies: list[tuple[str, Sequence[str], list[tuple[Any, ...]]]] = field(default_factory=list)
    updates: list[tuple[str, list[list[Any]]]] = field(default_factory=list)


def laid_out(written: Sequence[Written]) -> list[Bulk]:
    """The transactions of a recording, in its order."""
    known: set[tuple[str, str]] = set()
    return [_bulk(each, known) for each in written]


def _bulk(written: Written, known: set[tuple[str, str]]) -> Bulk:
    batch = written.batch
    bulk = Bulk(commands=written.commands, shards=frozenset(each.shard for each in batch.progress))
    bulk.copies.append(("events", StoredEvent.__struct_fields__, [structs.astuple(event) for event in batch.events]))
    bulk.copies.append(("outcomes", Outcome.__struct_fields__, [_outcome(each) for each in batch.outcomes]))
    _add_heads(bulk, batch)
    for collection, changes in written.documents.items():
        _add_documents(bulk, table_of(collection), changes, known)
    progress = [structs.astuple(each) for each in batch.progress]
    bulk.updates.append((PROGRESS, _columns(progress)))
    return bulk


def _outcome(outcome: Outcome) -> tuple[Any, ...]:
    return structs.astuple(structs.replace(outcome, data=bytes(outcome.data)))


def _add_heads(bulk: Bulk, batch: Batch) -> None:
    new = [structs.astuple(head) for version, head in batch.heads if version == 0]
    moved = [
        (head.shard, head.stream, head.version, head.mac, head.due_at) for version, head in batch.heads if version > 0
    ]
    if new:
        bulk.copies.append(("stream_head", HEAD_COLUMNS, new))
    if moved:
        bulk.updates.append((MOVE_HEADS, _columns(moved)))


def _add_documents(bulk: Bulk, table: str, changes: Sequence[Change], known: set[tuple[str, str]]) -> None:
    rows = [(each.shard, each.key, each.owner, each.sort, (each.doc or b"").decode()) for each in changes]
    new = [row for row in rows if (table, row[1]) not in known]
    changed = [row for row in rows if (table, row[1]) in known]
    known.update((table, row[1]) for row in new)
    if new:
        bulk.copies.append((table, DOCUMENT_COLUMNS, new))
    if changed:
        bulk.updates.append((CHANGE_DOCUMENTS.format(table=table), _columns(changed)))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def replay(url: str, bulks: Sequence[Bulk], *, skip: float, side_by_side: bool = False) -> tuple[float, int]:
    """Writes everything, and answers seconds and commands of what is behind the first part (`skip`, of 1)."""
    lanes = _lanes(bulks) if side_by_side else [list(bulks)]
    connections = [await _connect(url) for _ in lanes]
    try:
        before, after = zip(*(_divided(lane, skip) for lane in lanes), strict=True)
        await asyncio.gather(*map(_write, connections, before))
        started = time.perf_counter()
        await asyncio.gather(*map(_write, connections, after))
        took = time.perf_counter() - started
    finally:
        for connection in connections:
            await connection.close()
    return took, sum(bulk.commands for lane in after for bulk in lane)


def _lanes(bulks: Sequence[Bulk]) -> list[list[Bulk]]:
    """The transactions by lane: those that share shards have to keep their order."""
    groups: list[set[int]] = []
    for bulk in bulks:
        joined = set(bulk.shards).union(*(group for group in groups if group & bulk.shards))
        groups = [*(group for group in groups if not group & bulk.shards), joined]
    return [[bulk for bulk in bulks if bulk.shards & group] for group in groups]


def _divided(bulks: Sequence[Bulk], skip: float) -> tuple[list[Bulk], list[Bulk]]:
    first, commands = 0, 0
    while commands < skip * sum(bulk.commands for bulk in bulks):
        commands += bulks[first].commands
        first += 1
    return list(bulks[:first]), list(bulks[first:])


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(url, server_settings=session_settings(WORKER))
    # Documents are texts of JSON to the driver, in COPY too.
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda doc: b"\x01" + doc.encode(), decoder=bytes.decode, format="binary"
    )
    return connection


async def _write(connection: "asyncpg.Connection[asyncpg.Record]", bulks: Sequence[Bulk]) -> None:
    for bulk in bulks:
        async with connection.transaction():
            for table, columns, rows in bulk.copies:
                await connection.copy_records_to_table(table, records=rows, columns=columns)
            for sql, arguments in bulk.updates:
                await connection.execute(sql, *arguments)


def rows_written(bulks: Sequence[Bulk]) -> Mapping[str, int]:
    """How many rows go into how many tables, for the record."""
    copied = sum(len(rows) for bulk in bulks for _, _, rows in bulk.copies)
    changed = sum(len(arguments[0]) for bulk in bulks for _, arguments in bulk.updates)
    return {"new": copied, "changed": changed}
