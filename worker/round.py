"""One round of a lane: records in, one committed transaction out.

fence → known outcomes → streams → claims → decide → read models → write → commit. Nothing is kept in memory unless the
transaction committed. A small round takes fence and outcomes from memory, which only a repeat or a lost lease proves
wrong: then all of it is one exchange with the store (docs/decisions/0016-rounds-from-memory.md).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog
from msgspec import Struct
from msgspec.structs import replace

from domain.instant import Instant
from eventstore import codec
from eventstore.errors import DataError, StoreError, Unavailable, Undecodable, UnknownType, VersionConflict
from eventstore.records import Batch, Lease, Outcome, Progress, ShardHead, StoredStream
from eventstore.shards import shard_of
from eventstore.store import Round, Store
from projections.documents import DocumentStore
from worker import metrics
from worker.claims import claims_of, claims_wanted, until_claimed_twice
from worker.deciding import Decisions
from worker.incoming import Incoming
from worker.projecting import DocumentCache, Touched
from worker.source import Record
from worker.streams import LiveStream, StreamCache, fold, new_stream, snapshot_outdated

log = structlog.get_logger(__name__)

FROM_MEMORY_MAX = 64
"""Records of a round that is begun from memory. With more, locks and look-ups cost little each, and a `COPY` less."""
YIELD_EVERY = 200
"""Commands or events between two chances for the event loop, so that a large batch does not hold up other lanes and
the word that the worker is alive."""


class Applied(Struct, frozen=True, kw_only=True):
    """What a committed round has done."""

    positions: dict[int, int]
    """The next offset of each shard that it covered, also where all records had been applied before."""
    commands: int
    events: int
    failed: list[bool]
    """For each command that was decided, in order, whether it failed through a bug or is no command at all."""
    newer_release: dict[int, str]
    """Shards that met a command of a newer release, with its tag: to be given back."""


class Rounds:
    """Applies records for one lane; owns the lane's caches."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        documents: DocumentStore,
        macs: codec.MacChain,
        clock: Callable[[], Instant],
        shards: int,
    ) -> None:
        self._worker = worker
        self._store = store
        self._documents = documents
        self._macs = macs
        self._clock = clock
        self._shards = shards
        self._streams = StreamCache()
        self._cache = DocumentCache()
        self._heads: dict[int, ShardHead] = {}
        """Shard heads as our last round has left them, for as long as nothing has gone wrong since."""
        self.on_outcomes: Callable[[Sequence[Outcome]], None] = lambda _outcomes: None
        """Called after each commit with what it has decided; devnet hands it to those who wait, and logs it."""

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets everything about shards that are no longer ours."""
        self._streams.drop_shards(shards)
        self._cache.drop_shards(shards)
        self._forget_heads(shards)

    def _forget_heads(self, shards: Iterable[int]) -> None:
        for shard in shards:
            self._heads.pop(shard, None)

    async def apply(
        self,
        leases: Mapping[int, Lease],
        records: Sequence[Record],
        poisoned: frozenset[tuple[int, int]] = frozenset(),
        *,
        unreadable: bool = False,
    ) -> Applied:
        """Applies records of leased shards, all or none.

        After a `DataError`, `Fenced` or `VersionConflict` nothing was written. After `Unavailable` the commit may have
        happened and its answer been lost: the next round finds out, since it reads how far each shard was applied.
        `poisoned` records fail untried, because their rows were refused; with `unreadable` they go to the dead letters
        as bytes alone, because not even an outcome under their names could be written.
        """
        incoming, newer = self._decode(records, poisoned if unreadable else frozenset())
        involved = {shard: leases[shard] for shard in sorted({each.record.shard for each in incoming})}
        if not involved:
            return Applied(positions={}, commands=0, events=0, failed=[], newer_release=newer)
        remembered = self._remembered(involved, incoming)
        if remembered is not None:
            with suppress(VersionConflict):
                return await self._apply(involved, incoming, newer, poisoned, remembered)
            metrics.rounds_rolled_back.labels("memory").inc()
        return await self._apply(involved, incoming, newer, poisoned, None)

    def _remembered(self, leases: Mapping[int, Lease], incoming: Sequence[Incoming]) -> Mapping[int, ShardHead] | None:
        """The heads of all the shards, if the round may be begun from memory."""
        if len(incoming) > FROM_MEMORY_MAX or any(each.envelope and claims_of(each.envelope.body) for each in incoming):
            return None
        heads = {shard: self._heads.get(shard) for shard in leases}
        found = {shard: head for shard, head in heads.items() if head and head.epoch == leases[shard].epoch}
        return found if len(found) == len(leases) else None

    async def _apply(
        self,
        leases: Mapping[int, Lease],
        incoming: list[Incoming],
        newer: dict[int, str],
        poisoned: frozenset[tuple[int, int]],
        remembered: Mapping[int, ShardHead] | None,
    ) -> Applied:
        touched_streams = {each.envelope.header.stream for each in incoming if each.envelope}
        touched = Touched(())
        try:
            async with self._store.round(self._worker, list(leases.values()), remembered) as round_:
                incoming = _in_place(round_.heads, incoming)
                decisions, taken = await self._decide(round_, incoming, poisoned)
                with _bugs_told():
                    touched = Touched(decisions.recorded)
                await self._project(round_, touched)
                decisions.batch.progress = _progress(round_.heads, taken, decisions.seqs)
                await round_.write(decisions.batch)
                with _bugs_told():
                    changes = touched.changes()
                if changes:
                    await self._documents.save(round_, changes)
        except BaseException:
            self._streams.drop(touched_streams)
            self._cache.drop(touched.places)
            self._forget_heads(leases)
            raise
        self._streams.put(decisions.streams.values())
        self._cache.put(touched)
        heads = _moved(round_.heads, decisions.batch.progress)
        self._heads |= heads
        _count(decisions.batch)
        self.on_outcomes(decisions.batch.outcomes)
        return Applied(
            positions={shard: head.next_offset for shard, head in heads.items()},
            commands=len(taken),
            events=len(decisions.batch.events),
            failed=decisions.failed,
            newer_release=newer,
        )

    def _decode(
        self, records: Sequence[Record], unreadable: frozenset[tuple[int, int]]
    ) -> tuple[list[Incoming], dict[int, str]]:
        incoming: list[Incoming] = []
        newer: dict[int, str] = {}
        for record in records:
            if record.shard in newer:
                continue
            if (record.shard, record.offset) in unreadable:
                incoming.append(Incoming(record=record, envelope=None, problem="the store refuses its names"))
                continue
            try:
                incoming.append(self._incoming(record))
            except UnknownType as error:
                newer[record.shard] = str(error)
        return incoming, newer

    def _incoming(self, record: Record) -> Incoming:
        try:
            envelope = codec.decode_command(record.value)
        except Undecodable as error:
            return Incoming(record=record, envelope=None, problem=str(error))
        stream = envelope.header.stream
        if stream.partition(":")[0] != envelope.body.category or shard_of(stream, self._shards) != record.shard:
            return Incoming(record=record, envelope=None, problem="the command is not of this stream or shard")
        return Incoming(record=record, envelope=envelope)

    async def _decide(
        self, round_: Round, incoming: list[Incoming], poisoned: frozenset[tuple[int, int]]
    ) -> tuple[Decisions, list[Incoming]]:
        outcomes = await self._known(round_, incoming)
        incoming, claims = until_claimed_twice(incoming, claims_wanted(incoming, outcomes))
        streams = await self._load(round_, incoming)
        ordered = sorted(claims, key=lambda row: (row.kind, row.value))
        decisions = Decisions(
            at=self._clock(),
            macs=self._macs,
            streams=streams,
            outcomes=outcomes,
            claims_lost=await round_.take_claims(ordered) if ordered else set(),
            seqs={shard: head.seq for shard, head in round_.heads.items()},
            adopt_until=self._adopt_until(round_.heads),
            poisoned=poisoned,
        )
        done = 0
        with _bugs_told():
            for index, each in enumerate(incoming, start=1):
                decisions.decide(each)
                if (index + len(decisions.recorded)) - done >= YIELD_EVERY:
                    done = index + len(decisions.recorded)
                    await asyncio.sleep(0)
            decisions.close()
        return decisions, incoming

    async def _known(self, round_: Round, incoming: Sequence[Incoming]) -> dict[str, Outcome]:
        """What became of these commands before; an operator's repair sees it otherwise."""
        return await round_.outcomes(
            [(each.record.shard, each.envelope.header.id) for each in incoming if each.envelope]
        )

    def _adopt_until(self, heads: Mapping[int, ShardHead]) -> dict[int, int]:
        """Before which offsets deadlines do not count."""
        return {shard: head.adopt_until for shard, head in heads.items()}

    async def _load(self, round_: Round, incoming: Sequence[Incoming]) -> dict[str, LiveStream]:
        streams: dict[str, LiveStream] = {}
        cold: dict[str, int] = {}
        for each in incoming:
            if each.envelope is None or each.envelope.header.stream in streams:
                continue
            name = each.envelope.header.stream
            warm = self._streams.get(name)
            if warm is None:
                cold[name] = each.record.shard
            else:
                streams[name] = warm
        if not cold:
            return streams
        stored = await round_.streams([(shard, name) for name, shard in cold.items()])
        for name, shard in cold.items():
            streams[name] = await self._live(shard, name, stored)
        return streams

    async def _live(self, shard: int, name: str, stored: Mapping[str, StoredStream]) -> LiveStream:
        found = stored.get(name)
        if found is None:
            live = new_stream(shard, name)
            assert live is not None, "the category was checked when the command was decoded"
            return live
        if snapshot_outdated(found):
            whole = await self._store.stream(shard, name)
            assert whole is not None, "the head was there a moment ago, and its shard is locked by us"
            return fold(whole, whole=True)
        return fold(found)

    async def _project(self, round_: Round, touched: Touched) -> None:
        missing = touched.missing(self._cache)
        loaded = await self._documents.load(round_, missing) if missing else {}
        with _bugs_told():
            touched.fold(loaded)


@contextmanager
def _bugs_told() -> Iterator[None]:
    """What our own code raises is a `DataError`: one command has to do with it, and it is found by halving."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        log.exception("round_failed")
        raise DataError(f"{type(error).__name__} in a round") from error


def _count(batch: Batch) -> None:
    metrics.rounds.inc()
    metrics.events_appended.inc(len(batch.events))
    for status, count in Counter(outcome.status for outcome in batch.outcomes).items():
        metrics.commands_decided.labels(status).inc(count)
    for letter in batch.dead_letters:
        metrics.dead_letters.labels(letter.reason).inc()


def _in_place(heads: Mapping[int, ShardHead], incoming: Sequence[Incoming]) -> list[Incoming]:
    """Leaves out what was applied before. A gap would lose commands: it is refused, and the lane reads again."""
    expected = {shard: head.next_offset for shard, head in heads.items()}
    in_place = []
    for each in incoming:
        shard, offset = each.record.shard, each.record.offset
        if offset < expected[shard]:
            continue
        if offset > expected[shard]:
            raise Unavailable(f"shard {shard}: the log gave offset {offset} where {expected[shard]} was expected")
        expected[shard] += 1
        in_place.append(each)
    return in_place


def _moved(heads: Mapping[int, ShardHead], progress: Sequence[Progress]) -> dict[int, ShardHead]:
    """The shards' heads as a committed round has left them."""
    reached = {each.shard: each for each in progress}
    return {
        shard: replace(head, next_offset=made.next_offset, seq=made.seq, last_digest=made.last_digest)
        if (made := reached.get(shard))
        else head
        for shard, head in heads.items()
    }


def _progress(heads: Mapping[int, ShardHead], incoming: Sequence[Incoming], seqs: Mapping[int, int]) -> list[Progress]:
    last = {each.record.shard: each.record for each in incoming}
    return [
        Progress(
            shard=shard,
            next_offset=last[shard].offset + 1,
            seq=seqs[shard],
            last_digest=codec.digest(last[shard].value),
        )
        for shard in sorted(last)
        if shard in heads
    ]
