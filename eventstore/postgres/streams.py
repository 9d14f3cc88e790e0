"""`stream_head`: where streams end, and what is read to fold them."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol

from asyncpg import Record

from domain.instant import Instant
from eventstore.postgres.events import stored_event
from eventstore.postgres.pool import Part
from eventstore.postgres.statement import TableChange, columns
from eventstore.postgres.texts import joined, unnested
from eventstore.records import StoredEvent, StoredStream, StreamHead

# LATERAL with LIMIT or OFFSET: see `pool`, on plans made while a table was small.
HEADS = """
SELECT head.*
FROM unnest($1::integer[], $2::text[]) AS wanted (shard, stream)
CROSS JOIN LATERAL (
    SELECT shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined
    FROM stream_head
    WHERE stream_head.shard = wanted.shard AND stream_head.stream = wanted.stream
    LIMIT 1
) AS head
"""

EVENTS_BEHIND = """
SELECT event.*
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS wanted (shard, stream, behind)
CROSS JOIN LATERAL (
    SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac
    FROM events
    WHERE events.shard = wanted.shard AND events.stream = wanted.stream AND events.version > wanted.behind
    OFFSET 0
) AS event
ORDER BY event.stream, event.version
"""

PAGE = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac
FROM events
WHERE shard = $1 AND stream = $2 AND version > $3
ORDER BY version
LIMIT $4
"""

# A head that was never written by an event, as of a stream in quarantine, may be there with version 0.
NEW_HEADS = """
INSERT INTO stream_head AS stored
    (shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined)
SELECT * FROM unnest(
    {0}::integer[], {1}::text[], {2}::bigint[], {3}::bytea[], {4}::bigint[], {5}::bytea[], {6}::bigint[],
    {7}::integer[], {8}::boolean[]
)
ON CONFLICT (shard, stream) DO UPDATE SET
    version = excluded.version,
    mac = excluded.mac,
    due_at = excluded.due_at,
    snapshot = excluded.snapshot,
    snapshot_at = excluded.snapshot_at,
    snapshot_version = excluded.snapshot_version,
    quarantined = excluded.quarantined
WHERE stored.version = 0
RETURNING 1
"""

# A head without a snapshot keeps the one that is stored. The row's place stays as it is: its shard is locked by us.
MOVED_HEADS = f"""
UPDATE stream_head AS stored SET
    version = moved.version::bigint,
    mac = moved.mac::bytea,
    due_at = moved.due_at::bigint,
    quarantined = moved.quarantined::boolean
FROM {unnested(7)} AS moved (shard, stream, version, mac, due_at, quarantined, expected)
CROSS JOIN LATERAL (
    SELECT ctid FROM stream_head AS head
    WHERE head.shard = moved.shard::integer AND head.stream = moved.stream
    LIMIT 1
) AS found
WHERE stored.ctid = found.ctid AND stored.version = moved.expected::bigint
RETURNING 1
"""  # noqa: S608  # no value is in it

SNAPSHOT_HEADS = """
UPDATE stream_head AS stored SET
    version = moved.version,
    mac = moved.mac,
    due_at = moved.due_at,
    snapshot = moved.snapshot,
    snapshot_at = moved.snapshot_at,
    snapshot_version = moved.snapshot_version,
    quarantined = moved.quarantined
FROM unnest(
    {0}::integer[], {1}::text[], {2}::bigint[], {3}::bytea[], {4}::bigint[], {5}::bytea[], {6}::bigint[],
    {7}::integer[], {8}::boolean[], {9}::bigint[]
) AS moved
    (shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined, expected)
CROSS JOIN LATERAL (
    SELECT ctid FROM stream_head AS head WHERE head.shard = moved.shard AND head.stream = moved.stream LIMIT 1
) AS found
WHERE stored.ctid = found.ctid AND stored.version = moved.expected
RETURNING 1
"""

DUE = """
SELECT due.stream, due.due_at
FROM unnest($1::integer[]) AS wanted (shard)
CROSS JOIN LATERAL (
    SELECT stream, due_at FROM stream_head
    WHERE stream_head.shard = wanted.shard AND due_at <= $2
    ORDER BY due_at, stream
    LIMIT $3
) AS due
ORDER BY due.due_at, due.stream
LIMIT $3
"""

QUARANTINED = "SELECT stream FROM stream_head WHERE quarantined ORDER BY stream"


class Reader(Protocol):
    """Whoever can run a statement: a pool, or a round inside its transaction."""

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """All rows of one statement."""
        ...


async def read_streams(
    reader: Reader, streams: Iterable[tuple[int, str]], *, whole: bool = False
) -> dict[str, StoredStream]:
    """Heads, and the events after their snapshots or (`whole`) all of them, by stream."""
    wanted = sorted(set(streams))
    if not wanted:
        return {}
    rows = await reader.fetch(HEADS, [shard for shard, _ in wanted], [stream for _, stream in wanted])
    heads = [StreamHead(**row) for row in rows]
    behind = [(head, 0 if whole else head.snapshot_at) for head in heads]
    moved = [(head, version) for head, version in behind if head.version > version]
    events = await _read_events(reader, moved) if moved else {}
    return {head.stream: StoredStream(head=head, events=events.get(head.stream, [])) for head in heads}


async def _read_events(reader: Reader, behind: Sequence[tuple[StreamHead, int]]) -> dict[str, list[StoredEvent]]:
    rows = await reader.fetch(
        EVENTS_BEHIND,
        [head.shard for head, _ in behind],
        [head.stream for head, _ in behind],
        [version for _, version in behind],
    )
    events = map(stored_event, rows)
    return {stream: list(found) for stream, found in groupby(events, key=lambda event: event.stream)}


def head_changes(heads: Sequence[tuple[int, StreamHead]]) -> list[TableChange]:
    """Writes heads whose streams have the version that was expected; fewer counted rows mean that one had not."""
    new = [head for version, head in heads if version == 0]
    moved = [each for each in heads if each[0] > 0 and each[1].snapshot is None]
    snapshots = [each for each in heads if each[0] > 0 and each[1].snapshot is not None]
    changes = []
    if new:
        changes.append(TableChange(name="new_heads", sql=NEW_HEADS, arguments=columns(new, StreamHead), counted=True))
    if moved:
        changes.append(TableChange(name="moved_heads", sql=MOVED_HEADS, arguments=_moved(moved), counted=True))
    if snapshots:
        arguments = columns([head for _, head in snapshots], StreamHead)
        arguments.append([version for version, _ in snapshots])
        changes.append(TableChange(name="snapshot_heads", sql=SNAPSHOT_HEADS, arguments=arguments, counted=True))
    return changes


def _moved(heads: Sequence[tuple[int, StreamHead]]) -> list[str]:
    return joined(
        [
            [str(head.shard) for _, head in heads],
            [head.stream for _, head in heads],
            [str(head.version) for _, head in heads],
            [f"\\x{head.mac.hex()}" for _, head in heads],
            [None if head.due_at is None else str(head.due_at) for _, head in heads],
            [str(head.quarantined) for _, head in heads],
            [str(version) for version, _ in heads],
        ]
    )


class Streams(Part):
    """What is asked about streams outside a round."""

    async def due(self, shards: Sequence[int], at: Instant, limit: int) -> list[tuple[str, Instant]]:
        """See `store.ShardStore`."""
        return [(row["stream"], row["due_at"]) for row in await self._pool.fetch(DUE, list(shards), at, limit)]

    async def quarantined(self) -> list[str]:
        """See `store.DeadLetterStore`."""
        return [row["stream"] for row in await self._pool.fetch(QUARANTINED)]

    async def head(self, shard: int, stream: str) -> StreamHead | None:
        """See `store.LogStore`."""
        rows = await self._pool.fetch(HEADS, [shard], [stream])
        return StreamHead(**rows[0]) if rows else None

    async def stream_events(self, shard: int, stream: str, behind: int, limit: int) -> list[StoredEvent]:
        """See `store.LogStore`."""
        return [stored_event(row) for row in await self._pool.fetch(PAGE, shard, stream, behind, limit)]

    async def stream(self, shard: int, stream: str) -> StoredStream | None:
        """See `store.LogStore`."""
        return (await read_streams(self._pool, [(shard, stream)], whole=True)).get(stream)
