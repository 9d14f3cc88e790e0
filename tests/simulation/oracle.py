"""What should have come out: the log replayed record by record by one naive reader, and held against the store."""

from collections.abc import Iterator
from typing import Any

from domain.account.account import Account
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.aggregate import Aggregate
from domain.envelope import Envelope
from domain.errors import DeadlinePassed, DomainError
from domain.instant import Instant
from domain.message import Event
from domain.recorded import Metadata
from domain.registry import aggregates
from domain.user import UserRegistered
from eventstore import codec
from eventstore.errors import Undecodable
from eventstore.records import Outcome, StoredEvent
from projections.registry import all_projections, projections_of
from tests.shard_log import events_after
from tests.simulation.watch import Broken
from tests.simulation.world import MACS, SHARDS, World


class Stream:
    """A stream as the naive reader sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.aggregate: Aggregate[Any] = aggregates()[name.partition(":")[0]]
        self.state = self.aggregate.initial()
        self.version = 0
        self.last_at: Instant = 0
        self.mac = b""


class Oracle:
    """One reader, no batches, no caches, no duplicates but those it knows by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.streams: dict[str, Stream] = {}
        self.emails: dict[str, str] = {}
        self._emails_refused: list[str] = []
        self._documents: dict[tuple[str, str], Any] = {}

    async def check(self) -> None:
        """Raises `Broken` where the store is not what the log says."""
        for shard in range(SHARDS):
            await self._check_shard(shard)
        if missing := [email for email in self._emails_refused if email not in self.emails]:
            raise Broken(f"claims: {missing} were refused, and nobody has them")
        self._check_documents()
        for name, stream in self.streams.items():
            if isinstance(stream.state, Account):
                self._check_money(name, stream.state)

    async def _check_shard(self, shard: int) -> None:
        world = self._world
        letters = {(each.shard, each.offset) for each in await world.store.dead_letters(limit=10_000)}
        committed = iter(world.store.committed[shard])
        stored = iter(await events_after(world.store, shard, 0, 1_000_000))
        known: dict[str, tuple[Outcome, set[str]]] = {}
        for offset, record in enumerate(world.log.records[shard]):
            try:
                envelope = codec.decode_command(record)
            except Undecodable:
                if (shard, offset) not in letters:
                    raise Broken(f"the record at {shard}/{offset} is in no dead letter") from None
                continue
            header = envelope.header
            before, tried = known.get(header.id, (None, set()))
            if before is not None and (
                not before.curable or header.attempt in tried or before.fingerprint != header.fingerprint
            ):
                continue
            outcome = next(committed, None)
            if outcome is None or (outcome.command_id, outcome.attempt) != (header.id, header.attempt):
                raise Broken(f"I1: {shard}/{offset} {header.id} {header.attempt} met the outcome {outcome}")
            self._apply(envelope, outcome, stored)
            known[header.id] = (outcome, tried | {header.attempt})
        if (extra := next(committed, None)) is not None or (more := next(stored, None)) is not None:
            raise Broken(f"I1: nobody asked for {extra or more}")
        final = {command_id: outcome for command_id, (outcome, _) in known.items()}
        if await world.store.read_outcomes([(shard, each) for each in final]) != final:
            raise Broken("I2: an outcome was replaced")

    def _apply(self, envelope: Envelope, outcome: Outcome, stored: Iterator[StoredEvent]) -> None:
        header = envelope.header
        stream = self.streams.setdefault(header.stream, Stream(header.stream))
        at = outcome.at
        if at < stream.last_at:
            raise Broken(f"{header.id} was applied at {at}, before its stream's last event at {stream.last_at}")
        status, data = self._decide(envelope, stream, at, outcome, stored)
        if (status, data) != (outcome.status, bytes(outcome.data)):
            raise Broken(f"{header.id}: {outcome.status} {bytes(outcome.data)!r}, expected {status} {data!r}")

    def _decide(
        self, envelope: Envelope, stream: Stream, at: Instant, outcome: Outcome, stored: Iterator[StoredEvent]
    ) -> tuple[str, bytes]:
        header, command, aggregate = envelope.header, envelope.body, stream.aggregate
        metadata = Metadata(
            command_id=header.id, account=header.account, actor=header.actor, command=codec.tag_of(command)
        )
        try:
            if header.deadline is not None and at > header.deadline:
                message = "The command came too late and was not applied; send it again."
                raise DeadlinePassed("deadline_passed", message)
            for claim in command.claims():
                if outcome.status == "rejected" and claim.code.encode() in bytes(outcome.data):
                    self._emails_refused.append(claim.value)
                    raise claim.refused()
            self._due(stream, at, metadata, stored)
            events = aggregate.decide(stream.state, command, at)
            self._expect(stream, events, at, metadata, stored)
            self._due(stream, at, metadata, stored)
        except DomainError as refusal:
            detail = {"code": refusal.code, "kind": refusal.kind, "message": refusal.message, "detail": refusal.detail}
            return "rejected", codec.encode_json(detail)
        return "applied", codec.encode_json(aggregate.answer(stream.state, command, events))

    def _due(self, stream: Stream, at: Instant, metadata: Metadata, stored: Iterator[StoredEvent]) -> None:
        while events := stream.aggregate.due(stream.state, at):
            self._expect(stream, events, at, metadata, stored)

    def _expect(
        self, stream: Stream, events: Any, at: Instant, metadata: Metadata, stored: Iterator[StoredEvent]
    ) -> None:
        """The next events of the shard are these, at this place, and chained to what was before them."""
        for event in events:
            found = next(stored, None)
            wanted = (stream.name, stream.version + 1, at, codec.encode_json(event), codec.encode_json(metadata))
            if found is None or (found.stream, found.version, found.at, found.payload, found.metadata) != wanted:
                raise Broken(f"expected {wanted}, found {found}")
            if not MACS.verify(stream.mac, found):
                raise Broken(f"the chain of {stream.name} breaks at version {found.version}")
            stream.state = stream.aggregate.evolve(stream.state, event)
            stream.version, stream.last_at, stream.mac = found.version, at, found.mac
            self._note(found, event)

    def _note(self, stored: StoredEvent, event: Event) -> None:
        recorded = codec.recorded(stored)
        for projection in projections_of(type(event)):
            key = projection.key(recorded)
            if key is not None:
                place = (projection.collection, key)
                self._documents[place] = projection.evolve(self._documents.get(place), recorded)
        if (
            isinstance(event, UserRegistered)
            and self.emails.setdefault(event.email_hash, stored.stream) != stored.stream
        ):
            raise Broken(f"claims: {event.email_hash} belongs to {self.emails[event.email_hash]} and {stored.stream}")

    def _check_documents(self) -> None:
        """I4, I5: what the workers folded round by round is what one fold of all events makes."""
        known = all_projections()
        live = {
            (collection, key): change.doc
            for collection, documents in self._world.documents._documents.items()
            for key, change in documents.items()
        }
        folded = {place: known[place[0]].encode(document) for place, document in self._documents.items() if document}
        if live != folded:
            differing = sorted(place for place in live.keys() | folded.keys() if live.get(place) != folded.get(place))
            raise Broken(f"I4: {[(place, live.get(place), folded.get(place)) for place in differing]}")

    def _check_money(self, name: str, account: Account) -> None:
        """I6, I7."""
        ledger = account.credits
        account_id = name.partition(":")[2]
        moved = sum(
            document.amount
            for (collection, _), document in self._documents.items()
            if collection == "transactions" and document.account_id == account_id
        )
        remaining = sum(grant.remaining for grant in ledger.grants.values())
        held = sum(hold.amount for hold in ledger.holds.values())
        if not (moved == ledger.balance == remaining and held == ledger.held and ledger.available >= 0):
            raise Broken(f"I6: {name} moved {moved}, has {ledger}")


async def check_holds(world: World) -> None:
    """I7: each hold is closed at most once, corrected at most once, and only after it was closed."""
    ends: dict[tuple[str, str], list[str]] = {}
    for shard in range(SHARDS):
        for stored in await events_after(world.store, shard, 0, 1_000_000):
            event = codec.decode_event(stored.type, stored.schema_version, stored.payload)
            if isinstance(event, HoldPlaced | HoldClosed | HoldCorrected):
                ends.setdefault((stored.stream, event.hold_id), []).append(type(event).__name__)
    order = ["HoldPlaced", "HoldClosed", "HoldCorrected"]
    if wrong := {place: events for place, events in ends.items() if events != order[: len(events)]}:
        raise Broken(f"I7: {wrong}")
