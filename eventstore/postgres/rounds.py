"""`shard_head` inside a transaction: a round locks, reads and writes, and is fenced by its leases' epochs (I3).

A round from memory is the same with nothing asked before: one statement, which fails where the memory is wrong.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from eventstore.errors import Fenced, Unavailable
from eventstore.postgres.claims import claim_changes, release_changes, take_claims
from eventstore.postgres.data_keys import key_changes
from eventstore.postgres.dead_letters import dead_letter_changes
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.events import FEW, append, event_changes
from eventstore.postgres.outcomes import first_outcome_changes, outcome_changes, read_outcomes
from eventstore.postgres.pool import Connection, Part
from eventstore.postgres.refusals import refusal_changes
from eventstore.postgres.statement import TableChange, merged
from eventstore.postgres.streams import head_changes, read_streams
from eventstore.records import (
    Batch,
    ClaimRow,
    Lease,
    Outcome,
    Progress,
    ShardHead,
    StoredEvent,
    StoredStream,
)

LOCK = """
SELECT shard, owner, epoch, next_offset, seq, last_digest, stopped, adopt_until
FROM shard_head
WHERE shard = ANY ($1::integer[])
ORDER BY shard
FOR UPDATE
"""

# Every shard of the round is prolonged; one without progress stays where it is. One that is not where the round found
# or remembered it is left out, which the count of rows shows.
PROGRESS = """
UPDATE shard_head AS head SET
    next_offset = coalesce(progress.next_offset, head.next_offset),
    seq = coalesce(progress.seq, head.seq),
    last_digest = coalesce(progress.last_digest, head.last_digest),
    lease_until = clock_timestamp() + make_interval(secs => head.lease_s)
FROM unnest({0}::integer[], {1}::bigint[], {2}::bigint[], {3}::bytea[], {4}::text[], {5}::bigint[], {6}::bigint[])
    AS progress (shard, next_offset, seq, last_digest, owner, epoch, begun_at)
WHERE head.shard = progress.shard
    AND head.owner = progress.owner AND head.epoch = progress.epoch AND head.next_offset = progress.begun_at
RETURNING 1
"""


class PostgresRound:
    """See `store.Round`. One caller at a time: it is one connection."""

    def __init__(self, connection: Connection, heads: Mapping[int, ShardHead]) -> None:
        self._connection = connection
        self._heads = heads
        self._changes: list[TableChange] = []
        self._heads_moved = 0
        self._events: list[StoredEvent] = []
        self._progress: list[Progress] = []
        self._failure: BaseException | None = None

    @property
    def heads(self) -> Mapping[int, ShardHead]:
        """See `store.Round`."""
        return self._heads

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement inside the round's transaction, for the document store too."""
        with self._guarded():
            return await self._connection.fetch(sql, *arguments)

    async def outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.Round`."""
        return await read_outcomes(self, ids)

    async def streams(self, streams: Iterable[tuple[int, str]]) -> dict[str, StoredStream]:
        """See `store.Round`."""
        return await read_streams(self, streams)

    async def take_claims(self, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:
        """See `store.Round`."""
        return await take_claims(self, claims)

    async def write(self, batch: Batch) -> None:
        """See `store.Round`. Everything is sent with the commit, at once."""
        self._changes += [
            *head_changes(batch.heads),
            *self._outcome_changes(batch.outcomes),
            *refusal_changes(batch.refusals),
            *claim_changes(batch.claims_freed),
            *release_changes(batch.claims_released),
            *key_changes(batch.keys_erased),
            *dead_letter_changes(batch.dead_letters, self._heads),
        ]
        self._heads_moved += len(batch.heads)
        self._events += batch.events
        self._progress += batch.progress

    def stage(self, changes: Sequence[TableChange]) -> None:
        """Adds changes of other tables, which no change staged before touches; for the document store."""
        self._changes += changes

    def _outcome_changes(self, outcomes: Sequence[Outcome]) -> list[TableChange]:
        return outcome_changes(outcomes)

    async def commit(self) -> None:
        """Makes it so, all or nothing; a round in which anything failed cannot be committed."""
        if self._failure is not None:
            raise self._failure
        few = len(self._events) <= FEW
        sql, arguments = self._statement(self._events if few else [])
        with self._guarded():
            await self._connection.fetch(sql, *arguments)
            if not few:
                await append(self._connection, self._events)
            # PostgreSQL answers the COMMIT of a transaction that has failed with ROLLBACK, and no error.
            if await self._connection.execute("COMMIT") != "COMMIT":
                raise Unavailable("the transaction was rolled back")

    def _statement(self, events: Sequence[StoredEvent]) -> tuple[str, list[object]]:
        """All that was staged; `VersionConflict` unless every shard and stream is as the batch was decided on."""
        changes = [*self._changes, *event_changes(events), self._renewal()]
        return merged(changes, self._heads_moved + len(self._heads))

    def _renewal(self) -> TableChange:
        reached = {each.shard: each for each in self._progress}
        assert reached.keys() <= self._heads.keys(), "a round writes only the shards that it has locked"
        each = [reached.get(shard) for shard in self._heads]
        heads = self._heads.values()
        arguments = [
            list(self._heads),
            [found and found.next_offset for found in each],
            [found and found.seq for found in each],
            [found and found.last_digest for found in each],
            [head.owner for head in heads],
            [head.epoch for head in heads],
            [head.next_offset for head in heads],
        ]
        return TableChange(name="progress_made", sql=PROGRESS, arguments=arguments, counted=True)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except BaseException as error:
            self._failure = error
            raise


class RememberedRound(PostgresRound):
    """A round that was begun from memory: reads see what is committed, and the commit is its only statement.

    Nothing is locked meanwhile. Whoever took a shard away, or moved it, has changed its head, and then the statement
    changes nothing: all of it is one transaction, and the heads' conditions are part of it.
    """

    async def outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:  # noqa: ARG002  # not asked
        """See `store.Round`: taken to be none; an outcome that exists fails the commit."""
        return {}

    async def take_claims(self, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:  # noqa: ARG002  # never
        """See `store.Round`: a round from memory takes none."""
        raise AssertionError("claims are taken under the shards' locks")

    def _outcome_changes(self, outcomes: Sequence[Outcome]) -> list[TableChange]:
        return first_outcome_changes(outcomes)

    async def commit(self) -> None:
        """Makes it so, all or nothing: `VersionConflict` where something is not as it was remembered."""
        if self._failure is not None:
            raise self._failure
        sql, arguments = self._statement(self._events)
        with self._guarded():
            await self._connection.fetch(sql, *arguments)


class Rounds(Part):
    """See `store.ShardStore.round`."""

    @asynccontextmanager
    async def round(
        self, worker: str, leases: Sequence[Lease], remembered: Mapping[int, ShardHead] | None = None
    ) -> AsyncIterator[PostgresRound]:
        """See `store.ShardStore`."""
        connection = await self._pool.acquire()
        try:
            if remembered is None:
                opened = await _open(connection, worker, leases)
            else:
                opened = RememberedRound(connection, remembered)
            yield opened
            await opened.commit()
        except BaseException:
            await _roll_back(connection)
            raise
        finally:
            await self._pool.release(connection)


async def _open(connection: Connection, worker: str, leases: Sequence[Lease]) -> PostgresRound:
    """Begins the transaction and locks its shards, in order so that no two rounds can embrace."""
    with translated():
        await connection.execute("BEGIN")
        rows = await connection.fetch(LOCK, [lease.shard for lease in leases])
    heads = {row["shard"]: ShardHead(**row) for row in rows}
    lost = [
        lease.shard
        for lease in leases
        if (head := heads.get(lease.shard)) is None or (head.owner, head.epoch) != (worker, lease.epoch)
    ]
    if lost:
        raise Fenced(lost)
    return PostgresRound(connection, heads)


async def _roll_back(connection: Connection) -> None:
    """Frees the locks. A connection that cannot even do this is cut, which does the same."""
    try:
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        # One that broke has left the pool already and answers nothing any more.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()
