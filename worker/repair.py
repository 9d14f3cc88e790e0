"""Decides records again that were set aside: an operator's rounds, on a shard taken from its worker for as long.

A repair is a round like any other, under the same fence, but for four things: its records lie behind the shard's
position, which stays; an outcome `failed` or `quarantined` does not count as one; deadlines do not count; and the dead
letter is marked in the same transaction (docs/decisions/0011-repairs.md). Only a command that shows a secret is retried
for no longer than somebody can still be shown it: later it would make a key that nobody has.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from msgspec import Raw, structs

from domain.instant import Instant
from eventstore import codec
from eventstore.errors import DataError, Unavailable, Undecodable
from eventstore.records import (
    SECRET_KEPT,
    Batch,
    DeadLetter,
    Lease,
    Outcome,
    Progress,
    ShardHead,
    StoredStream,
    StreamHead,
)
from eventstore.store import Round, Store
from projections.documents import DocumentStore
from worker.claims import claim_row
from worker.deciding import Decisions
from worker.incoming import Incoming
from worker.projecting import Touched
from worker.round import Rounds
from worker.source import Record
from worker.streams import LiveStream, fold

LEASE_S = 10.0
"""A repair that dies gives its shard up after this; each of its rounds renews it."""
SEIZE_TRIES, SEIZE_WAIT_S = 15, 0.1
LETTERS_AT_ONCE = 100
FOR_EVER = 2**62
"""An offset beyond every log: no deadline counts before it."""
DROPPED = {
    "code": "dropped",
    "kind": "conflict",
    "message": "The command met a fault of ours and was not applied; an operator has set it aside for good.",
    "detail": {},
}

Fate: TypeAlias = Literal["retried", "released"]


class StillBroken(Exception):
    """The stream cannot be folded by this release either."""


@asynccontextmanager
async def repairing(
    store: Store, documents: DocumentStore, macs: codec.MacChain, clock: Callable[[], Instant], shard: int
) -> AsyncIterator["Repairs"]:
    """Takes the shard from its worker, who claims it again within a second after it was given back."""
    name = f"operator-{uuid.uuid4().hex[:12]}"
    head = await _seized(store, name, shard)
    lease = Lease(shard=shard, epoch=head.epoch)
    try:
        yield Repairs(
            worker=name,
            store=store,
            documents=documents,
            macs=macs,
            clock=clock,
            shards=await store.shards(),
            lease=lease,
        )
    finally:
        await store.give_back(name, [lease])


async def _seized(store: Store, name: str, shard: int) -> ShardHead:
    """The shard, once the round that may hold it has committed; rounds of a busy worker follow each other closely."""
    for _ in range(SEIZE_TRIES - 1):
        try:
            return await store.seize(name, shard, LEASE_S)
        except Unavailable:
            await asyncio.sleep(SEIZE_WAIT_S)
    return await store.seize(name, shard, LEASE_S)


class Repairs(Rounds):
    """Rounds for one record each, on a shard that was seized."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        documents: DocumentStore,
        macs: codec.MacChain,
        clock: Callable[[], Instant],
        shards: int,
        lease: Lease,
    ) -> None:
        super().__init__(worker=worker, store=store, documents=documents, macs=macs, clock=clock, shards=shards)
        self._lease = lease
        self._releasing = ""
        self._too_late = False

    async def retry(self, letter: DeadLetter, fate: Fate = "retried") -> Outcome | None:
        """Decides a dead letter again; answers its outcome, `None` for bytes that are still none.

        `UnknownType` where this release does not know the command. What fails again stays an open dead letter.
        """
        try:
            return await self._retry(letter, fate, frozenset())
        except DataError:
            return await self._retry(letter, fate, frozenset({(letter.shard, letter.offset)}))

    async def _retry(self, letter: DeadLetter, fate: Fate, poisoned: frozenset[tuple[int, int]]) -> Outcome | None:
        record = Record(shard=letter.shard, offset=letter.offset, value=letter.record)
        incoming = self._incoming(record)
        self._too_late = fate == "retried" and _shows_nobody(incoming, self._clock())
        try:
            async with self._store.round(self._worker, [self._lease]) as round_:
                decisions, _ = await self._decide(round_, [incoming], poisoned)
                self._mark(decisions.batch, letter, fate)
                touched = await self._write(round_, decisions)
        except BaseException:
            self.drop_shards(frozenset({letter.shard}))
            raise
        self._keep(decisions, touched)
        return None if incoming.envelope is None else decisions.outcomes.get(incoming.envelope.header.id)

    async def release(self, stream: str) -> AsyncIterator[Outcome | None]:
        """Applies what was set aside for a stream in quarantine, in the log's order, then lets it go.

        The stream stays in quarantine until the last: were this interrupted, nothing could overtake what is left.
        `StillBroken` if it cannot be folded, or breaks again.
        """
        self._releasing = stream
        await self._require_foldable(stream)
        while letters := await self._store.set_aside(self._lease.shard, stream, LETTERS_AT_ONCE):
            for letter in letters:
                outcome = await self.retry(letter, "released")
                if outcome is not None and outcome.status == "quarantined":
                    raise StillBroken(f"{stream} breaks again at the command {outcome.command_id}")
                yield outcome
        async with self._store.round(self._worker, [self._lease]) as round_:
            live = await self._load_one(round_, stream)
            self._releasing = ""  # only now: where nothing was waiting the stream is folded here, as one that is free
            decisions = self._no_decisions(round_, live)
            decisions.close()
            await self._write(round_, decisions)

    async def _require_foldable(self, stream: str) -> None:
        async with self._store.round(self._worker, [self._lease]) as round_:
            live = await self._load_one(round_, stream)
        if live.quarantined:
            raise StillBroken(f"{stream} cannot be folded by this release either: deploy one that can, then release")

    async def drop(self, letter: DeadLetter) -> Outcome | None:
        """Ends a command for good: its outcome is `rejected`, code `dropped`. `None` for bytes that are no command."""
        try:
            envelope = codec.decode_command(letter.record)
        except Undecodable:
            envelope = None
        outcome = None
        async with self._store.round(self._worker, [self._lease]) as round_:
            head = round_.heads[letter.shard]
            batch = Batch(dead_letters=[structs.replace(letter, state="dropped")], progress=[_unmoved(head, head.seq)])
            if envelope is not None and letter.reason != "undecodable":
                header = envelope.header
                known = (await round_.outcomes([(letter.shard, header.id)])).get(header.id)
                if known is None or known.status != "applied":
                    batch.claims_freed = [claim_row(each, letter.shard, header) for each in envelope.body.claims()]
                if known is None or known.status in ("failed", "quarantined"):
                    outcome = Outcome(
                        shard=letter.shard,
                        command_id=header.id,
                        status="rejected",
                        attempt=header.attempt,
                        stream=header.stream,
                        at=self._clock(),
                        fingerprint=header.fingerprint,
                        data=Raw(codec.encode_json(DROPPED)),
                    )
                    batch.outcomes.append(outcome)
            await round_.write(batch)
        return outcome

    # How a repair's round differs from a lane's

    async def _known(self, round_: Round, incoming: Sequence[Incoming]) -> dict[str, Outcome]:
        """Unfinished outcomes are open again; the attempts that they have refused stay refused."""
        known = await super()._known(round_, incoming)
        return {
            command_id: structs.replace(outcome, curable=True, attempt="")
            if outcome.status in ("failed", "quarantined")
            else outcome
            for command_id, outcome in known.items()
        }

    def _adopt_until(self, heads: Mapping[int, ShardHead]) -> dict[int, int]:
        return {} if self._too_late else dict.fromkeys(heads, FOR_EVER)

    async def _live(self, shard: int, name: str, stored: Mapping[str, StoredStream]) -> LiveStream:
        """A stream that is being released is folded from its first event, whatever it is marked as."""
        if name != self._releasing or name not in stored:
            return await super()._live(shard, name, stored)
        whole = await self._store.stream(shard, name)
        assert whole is not None, "its head was there a moment ago, and its shard is locked by us"
        free = structs.replace(whole.head, quarantined=False)
        live = fold(structs.replace(whole, head=free), whole=True)
        live.quarantine_stored = whole.head.quarantined
        return live

    async def _load_one(self, round_: Round, stream: str) -> LiveStream:
        warm = self._streams.get(stream)
        if warm is not None:
            return warm
        stored = await round_.streams([(self._lease.shard, stream)])
        return await self._live(self._lease.shard, stream, stored)

    def _no_decisions(self, round_: Round, live: LiveStream) -> Decisions:
        return Decisions(
            at=self._clock(),
            macs=self._macs,
            streams={live.stream: live},
            outcomes={},
            claims_lost=set(),
            seqs={shard: head.seq for shard, head in round_.heads.items()},
            versions={live.stream: live.version},
        )

    def _mark(self, batch: Batch, letter: DeadLetter, fate: Fate) -> None:
        """Closes the letter, unless the round has set its record aside again: then it says why, in its old place."""
        again = [structs.replace(each, epoch=letter.epoch) for each in batch.dead_letters]
        batch.dead_letters = again or [structs.replace(letter, state=fate)]

    async def _write(self, round_: Round, decisions: Decisions) -> Touched:
        batch = decisions.batch
        if self._releasing:
            batch.heads = [(version, _held_back(head, self._releasing)) for version, head in batch.heads]
        batch.progress = [_unmoved(head, decisions.seqs[shard]) for shard, head in round_.heads.items()]
        touched = Touched(decisions.recorded)
        await self._project(round_, touched)
        await round_.write(batch)
        if changes := touched.changes():
            await self._documents.save(round_, changes)
        return touched

    def _keep(self, decisions: Decisions, touched: Touched) -> None:
        for live in decisions.streams.values():
            live.quarantine_stored = live.quarantine_stored or live.stream == self._releasing
        self._streams.put(decisions.streams.values())
        self._cache.put(touched)


def _shows_nobody(incoming: Incoming, now: Instant) -> bool:
    """Whether the command would show a secret, and its client has long given up."""
    if incoming.envelope is None or incoming.envelope.header.issued_at > now - SECRET_KEPT:
        return False
    return incoming.envelope.body.secret() is not None


def _held_back(head: StreamHead, stream: str) -> StreamHead:
    return structs.replace(head, quarantined=True, due_at=None) if head.stream == stream else head


def _unmoved(head: ShardHead, seq: int) -> Progress:
    return Progress(shard=head.shard, next_offset=head.next_offset, seq=seq, last_digest=head.last_digest)
