"""One shard as `verify` reads it: everything in one transaction that sees one moment, so a live system is no matter."""

from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
from asyncpg.cursor import Cursor

from domain.recorded import Recorded
from eventstore import codec
from eventstore.codec import MacChain
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import DirectConnection
from eventstore.records import Refusal, StreamHead
from eventstore.shards import shard_of
from projections.comparison import compare
from projections.document_tables import table_of
from projections.projection import CannotFold
from projections.registry import all_projections
from worker.findings import Findings
from worker.refold import Refold
from worker.verify_kept import KeptRows
from worker.verify_stream import CommandTrace, StreamWalk
from worker.verify_views import compare_views

CHUNK = 5_000
HEADS_AT_ONCE = 50

# For one session. Nothing of it outlives a transaction, and none of it is written ahead.
TABLE = """
CREATE TEMPORARY TABLE IF NOT EXISTS {table} (
    shard integer NOT NULL,
    key text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    sort text COLLATE "C" NOT NULL,
    doc jsonb NOT NULL,
    PRIMARY KEY (shard, key)
) ON COMMIT DELETE ROWS
"""

TRACES = """
CREATE TEMPORARY TABLE IF NOT EXISTS verify_traces (
    command_id text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    due boolean NOT NULL
) ON COMMIT DELETE ROWS
"""

EVENTS = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac
FROM events
WHERE shard = $1
ORDER BY stream, version
"""

HEADS = """
SELECT shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined
FROM stream_head
WHERE shard = $1
ORDER BY stream
"""

SEQUENCE = """
SELECT
    (SELECT seq FROM shard_head WHERE shard = $1) AS head,
    count(*) AS count, coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last
FROM events WHERE shard = $1
"""

# What a command decided is there once, and its outcome says `applied`. What was due anyway may be noticed by any.
UNMATCHED = """
SELECT trace.command_id, trace.stream, trace.version, trace.due, outcome.status, count(*) OVER () AS total
FROM verify_traces AS trace
LEFT JOIN outcomes AS outcome ON outcome.shard = $1 AND outcome.command_id = trace.command_id
WHERE outcome.command_id IS NULL
    OR outcome.stream <> trace.stream
    OR (NOT trace.due AND outcome.status <> 'applied')
ORDER BY trace.stream, trace.version
LIMIT $2
"""

REPEATED = """
SELECT command_id, min(stream) AS stream, array_agg(version ORDER BY version) AS versions, count(*) OVER () AS total
FROM verify_traces
WHERE NOT due
GROUP BY command_id
HAVING count(*) > 1
ORDER BY command_id
LIMIT $1
"""

REFUSALS = """
SELECT shard, command_id, attempt, account, at, command, code, actor, mac FROM refusals WHERE shard = $1
"""
# Since there are such rows, the outcome of a command names each of its attempts that was refused; one that an operator
# has dropped was not refused.
UNRECORDED = """
SELECT outcome.command_id, count(*) OVER () AS total
FROM outcomes AS outcome
CROSS JOIN LATERAL (
    SELECT unnest(outcome.refused) AS attempt
    UNION ALL
    SELECT outcome.attempt WHERE outcome.status = 'rejected'
        AND position('"code":"dropped"'::bytea IN outcome.data) = 0
) AS refused
LEFT JOIN refusals AS refusal
    ON refusal.shard = $1 AND refusal.command_id = outcome.command_id AND refusal.attempt = refused.attempt
WHERE outcome.shard = $1 AND (outcome.status = 'rejected' OR outcome.refused <> '{}') AND refusal.command_id IS NULL
    AND outcome.at > (SELECT extract(epoch FROM at) * 1000000 FROM migrations WHERE name = '0003_refusals')
ORDER BY outcome.command_id
LIMIT $2
"""
OUTCOMES = "SELECT status, count(*) AS count FROM outcomes WHERE shard = $1 GROUP BY status ORDER BY status"
OPEN_LETTERS = "SELECT count(*) FROM dead_letters WHERE shard = $1 AND state = 'open'"
SHOWN_MAX = 20


def _made(collection: str) -> str:
    return f"verify_{collection}"


async def prepare(connection: DirectConnection) -> None:
    """Makes the session's own tables, in which the read models are made again."""
    with translated():
        for collection in all_projections():
            await connection.execute(TABLE.format(table=_made(collection)))
        await connection.execute(TRACES)


class ShardVerification:
    """Verifies one shard, on a connection that was prepared."""

    def __init__(
        self,
        connection: DirectConnection,
        shard: int,
        *,
        shards: int,
        macs: MacChain,
        findings: Findings,
        counted: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._shard = shard
        self._shards = shards
        self._macs = macs
        self._findings = findings
        self._counted = counted
        self._refold: Refold | None = Refold(shard, list(all_projections().values()), _made)
        self._walk: StreamWalk | None = None
        self._kept = KeptRows()

    async def run(self) -> None:
        """Walks all streams, then compares what is stored beside them."""
        with translated():
            async with self._connection.transaction(isolation="repeatable_read"):
                await self._walk_streams()
                await self._check_sequence()
                await self._check_outcomes()
                await self._check_refusals()
                if self._refold is not None:
                    await self._check_documents()
                await compare_views(self._connection, self._shard, self._findings, shown_max=SHOWN_MAX)

    async def _walk_streams(self) -> None:
        heads = self._heads()
        waiting = await anext(heads, None)
        cursor: Cursor[asyncpg.Record] = await self._connection.cursor(EVENTS, self._shard)
        begun = ""
        while rows := await cursor.fetch(CHUNK):
            events: list[Recorded] = []
            traces: list[CommandTrace] = []
            for row in rows:
                if self._walk is None or row["stream"] != self._walk.stream:
                    traces += self._end_walk()
                    while waiting is not None and waiting.stream < row["stream"]:
                        self._check_empty(waiting)
                        waiting = await anext(heads, None)
                    head = waiting if waiting is not None and waiting.stream == row["stream"] else None
                    self._begin_walk(row["stream"], head)
                assert self._walk is not None
                event = self._walk.take(row)
                if event is not None:
                    events.append(event)
            if self._walk is not None:
                # A trace that goes on in the next chunk stays with its walk, so that it is not counted twice.
                traces += self._walk.traces[:-1]
                self._walk.traces = self._walk.traces[-1:]
            await self._keep(traces, events, begun)
            begun = rows[-1]["stream"]
            self._counted(len(rows))
        await self._keep(self._end_walk(), [], "")
        while waiting is not None:
            if self._walk is None or waiting.stream != self._walk.stream:
                self._check_empty(waiting)
            waiting = await anext(heads, None)

    async def _heads(self) -> AsyncIterator[StreamHead]:
        cursor: Cursor[asyncpg.Record] = await self._connection.cursor(HEADS, self._shard)
        while rows := await cursor.fetch(HEADS_AT_ONCE):
            for row in rows:
                yield StreamHead(**row)

    def _begin_walk(self, stream: str, head: StreamHead | None) -> None:
        if shard_of(stream, self._shards) != self._shard:
            self._findings.add("shard", stream, f"is on shard {self._shard}")
        self._walk = StreamWalk(stream, head, self._macs, self._findings)
        self._findings.note("streams")

    def _end_walk(self) -> list[CommandTrace]:
        if self._walk is None:
            return []
        self._walk.end(self._kept)
        return self._walk.traces

    def _check_empty(self, head: StreamHead) -> None:
        """A head whose stream has no events is that of a stream that was quarantined before its first."""
        if self._walk is not None and self._walk.stream == head.stream:
            return
        if head.version:
            self._findings.add("head", head.stream, f"says version {head.version}, the log has no event")

    async def _keep(self, traces: Sequence[CommandTrace], events: Sequence[Recorded], begun: str) -> None:
        """Writes a chunk's traces and documents to the session's tables, and looks at the rows that it proves."""
        await self._kept.check(self._connection, self._findings)
        records = [(trace.command_id, trace.stream, trace.version, trace.due) for trace in traces]
        await self._connection.copy_records_to_table("verify_traces", records=records)
        if self._refold is None or not events:
            return
        try:
            await self._refold.load(self._connection, [event for event in events if event.stream == begun])
            self._refold.fold(events)
            await self._refold.flush(self._connection)
        except CannotFold as error:
            self._findings.add("read model", f"shard {self._shard}", f"{error}; the others are not compared")
            self._refold = None

    async def _check_sequence(self) -> None:
        row = await self._connection.fetchrow(SEQUENCE, self._shard)
        assert row is not None
        self._findings.note("events", row["count"])
        if (row["first"], row["last"], row["count"]) != (1, row["head"], row["head"]):
            self._findings.add(
                "sequence",
                f"shard {self._shard}",
                f"{row['count']} events numbered {row['first']} to {row['last']}, the head says {row['head']}",
            )

    async def _check_outcomes(self) -> None:
        for row in await self._connection.fetch(UNMATCHED, self._shard, SHOWN_MAX):
            status = row["status"] or "no outcome"
            self._findings.add("outcome", f"{row['stream']} version {row['version']}", f"{row['command_id']}: {status}")
        for row in await self._connection.fetch(REPEATED, SHOWN_MAX):
            self._findings.add("applied twice", row["stream"], f"{row['command_id']} at versions {row['versions']}")
        for row in await self._connection.fetch(OUTCOMES, self._shard):
            self._findings.note(f"{row['status']} commands", row["count"])
        if letters := await self._connection.fetchval(OPEN_LETTERS, self._shard):
            self._findings.note("open dead letters", letters)

    async def _check_refusals(self) -> None:
        """Each row is what was written, and there is one for each attempt that an outcome says was refused."""
        cursor: Cursor[asyncpg.Record] = await self._connection.cursor(REFUSALS, self._shard)
        while rows := await cursor.fetch(CHUNK):
            for row in rows:
                refusal = Refusal(**row)
                if not self._macs.is_sealed(refusal.mac, codec.refusal_place(refusal), refusal.actor):
                    self._findings.add("refusal", refusal.command_id, self._macs.why_not(refusal.mac))
            self._findings.note("refusals", len(rows))
        for row in await self._connection.fetch(UNRECORDED, self._shard, SHOWN_MAX):
            self._findings.add("refusal", row["command_id"], "is not on record")

    async def _check_documents(self) -> None:
        for collection in all_projections():
            found = await compare(
                self._connection, collection, self._shard, live=table_of(collection), made=_made(collection)
            )
            if found is not None:
                place = f"{collection} on shard {self._shard}"
                self._findings.add("read model", place, ", ".join(found.shown), count=found.count)
