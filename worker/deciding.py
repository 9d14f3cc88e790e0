"""The pure middle of a round: commands in, a batch of rows out. It reads no store and no clock."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

import structlog
from msgspec import Raw, Struct, field

from domain.envelope import Header
from domain.errors import DeadlinePassed, DomainError
from domain.instant import Instant
from domain.message import Claim, Command, Event
from domain.recorded import Metadata, Recorded
from eventstore import codec
from eventstore.errors import DataError
from eventstore.records import Batch, ClaimRow, DeadLetter, Outcome, StoredEvent, StreamHead
from worker.claims import claim_row, claims_of
from worker.incoming import Incoming
from worker.refusal import refusal_of
from worker.source import Record
from worker.streams import LiveStream

log = structlog.get_logger(__name__)

SNAPSHOT_EVERY = 200
"""Events of a stream between two snapshots: what a cold stream costs to fold at most, unless its state is large."""
SNAPSHOT_BYTES = 1_000
"""Bytes of snapshot that an event may cost: a large state is written less often, and folded from more events."""
ATTEMPTS_REMEMBERED = 100
"""Refused attempts under one command id that are known for duplicates; older ones have long left the log."""


class Mark(Struct, frozen=True, gc=False):
    """Where a round stood before a command, to take back what an event that could not be evolved has left."""

    events: int
    version: int
    mac: bytes
    seq: int

    def restore(self, decisions: "Decisions", live: LiveStream) -> None:
        """Takes back everything but the state, which is lost: the stream is to be quarantined."""
        del decisions.recorded[self.events :]
        del decisions.batch.events[self.events :]
        live.version, live.mac, decisions.seqs[live.shard] = self.version, self.mac, self.seq


class Decisions(Struct, kw_only=True):
    """What a round has decided so far; `streams` are changed in place as it goes."""

    at: Instant
    macs: codec.MacChain
    streams: dict[str, LiveStream]
    outcomes: dict[str, Outcome]
    """Those that exist already; the round's own are added, so a repeat inside the batch is seen."""
    claims_lost: set[tuple[str, str]]
    seqs: dict[int, int]
    """The last sequence number of each shard."""
    adopt_until: dict[int, int] = field(default_factory=dict)
    """Offsets by shard before which deadlines do not count."""
    poisoned: frozenset[tuple[int, int]] = frozenset()
    """(shard, offset) of records whose rows the database refuses: they fail without being tried."""
    batch: Batch = field(default_factory=Batch)
    recorded: list[Recorded] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    """The version of each touched stream before the round."""
    claims_kept: set[tuple[str, str]] = field(default_factory=set)
    """Claims of applied commands: a refusal of another try in the same batch must not free them."""
    failed: list[bool] = field(default_factory=list)
    """For each decided command, in order, whether it failed through a bug: too many of them mean a bad deploy.

    Neither repeats count nor what waits behind a quarantine, which has counted once.
    """
    broken: set[str] = field(default_factory=set)
    """Streams whose quarantine this round has begun, and counted."""

    def decide(self, incoming: Incoming) -> None:
        """Decides one command, in order, seeing everything that was decided before it.

        `DataError` where a bug of ours shows only after the state was changed: the round is rolled back, and tried
        again without this command.
        """
        if incoming.envelope is None:
            self.failed.append(True)
            self._dead_letter(incoming, "undecodable", incoming.problem or "")
            return
        header, command = incoming.envelope.header, incoming.envelope.body
        known = self.outcomes.get(header.id)
        if known is not None and (known.settles(header.attempt) or known.fingerprint != header.fingerprint):
            return
        live = self.streams[header.stream]
        self.versions.setdefault(header.stream, live.version)
        if live.quarantined:
            self._set_aside(incoming, header, known)
            return
        mark = Mark(len(self.recorded), live.version, live.mac, self.seqs[live.shard])
        try:
            if (incoming.record.shard, incoming.record.offset) in self.poisoned:
                _refused_by_database()
            self._check_deadline(header, incoming.record)
            self._apply(header, command, live, known)
        except DomainError as refusal:
            self._reject(header, command, refusal, known)
        except EvolveFailed:
            log.exception("stream_quarantined", stream=live.stream, command_id=header.id)
            mark.restore(self, live)
            live.quarantined = True
            self._set_aside(incoming, header, known)
        except DataError:
            raise
        except Exception as error:
            log.exception("command_failed", command_id=header.id, command=codec.tag_of(command))
            self._fail(incoming, header, command, error, known)

    def _check_deadline(self, header: Header, record: Record) -> None:
        """By our clock alone: a stream that a clock ahead of it has written would refuse everything till then."""
        late = header.deadline is not None and self.at > header.deadline
        if late and record.offset >= self.adopt_until.get(record.shard, 0):
            raise DeadlinePassed("deadline_passed", "The command came too late and was not applied; send it again.")

    def _apply(self, header: Header, command: Command, live: LiveStream, known: Outcome | None) -> None:
        at = max(self.at, live.last_at)
        claims = command.claims()
        for claim in claims:
            if (claim.kind, claim.value) in self.claims_lost:
                raise claim.refused()
        metadata = _metadata(header, codec.tag_of(command))
        self._catch_up(live, at, metadata)
        events = live.aggregate.decide(live.state, command, at)
        try:
            self._append(live, events, at, metadata)
            self._catch_up(live, at, metadata)  # what the command has freed may be overdue
            data = Raw(codec.encode_json(live.aggregate.answer(live.state, command, events)))
        except EvolveFailed:
            raise
        except Exception as error:
            log.exception("command_half_applied", command_id=header.id, command=codec.tag_of(command))
            raise DataError(f"{type(error).__name__} after the events of {codec.tag_of(command)}") from error
        self.failed.append(False)
        if claims:
            self.claims_kept |= {(claim.kind, claim.value) for claim in claims if claim.held}
            self._free_claims(header, [claim for claim in claims if not claim.held])
        self._finish(
            Outcome(
                shard=live.shard,
                command_id=header.id,
                status="applied",
                attempt=header.attempt,
                stream=header.stream,
                at=at,
                fingerprint=header.fingerprint,
                data=data,
                secret=command.secret(),
                refused=_refused_before(known),
            )
        )

    def _catch_up(self, live: LiveStream, at: Instant, metadata: Metadata) -> None:
        """Appends what time alone has caused, until nothing is due: a committed stream is never overdue."""
        while events := live.aggregate.due(live.state, at):
            self._append(live, events, at, metadata)

    def _append(self, live: LiveStream, events: Sequence[Event], at: Instant, metadata: Metadata) -> None:
        """Numbers, chains and evolves events. An event that its own state cannot take quarantines the stream."""
        encoded = codec.encode_json(metadata) if events else b""
        for event in events:
            version, seq = live.version + 1, self.seqs[live.shard] + 1
            tag, payload = codec.tag_of(event), codec.encode_json(event)
            live.state = _evolve(live, event)
            place = codec.mac_place(live.stream, version, seq, at, tag, event.schema_version)
            live.mac = self.macs.sign(live.mac, place, payload, encoded)
            live.version, live.last_at, self.seqs[live.shard] = version, at, seq
            stored = StoredEvent(
                shard=live.shard,
                stream=live.stream,
                version=version,
                seq=seq,
                at=at,
                type=tag,
                schema_version=event.schema_version,
                payload=payload,
                metadata=encoded,
                mac=live.mac,
            )
            self.batch.events.append(stored)
            self.recorded.append(
                Recorded(
                    stream=live.stream,
                    entity_id=live.entity_id,
                    version=version,
                    shard=live.shard,
                    seq=seq,
                    at=at,
                    metadata=metadata,
                    event=event,
                )
            )

    def _reject(self, header: Header, command: Command, refusal: DomainError, known: Outcome | None) -> None:
        live = self.streams[header.stream]
        self.failed.append(False)
        self._free_claims(header, claims_of(command))
        at = max(self.at, live.last_at)
        self.batch.refusals.append(refusal_of(header, command, refusal.code, live.shard, at, self.macs))
        self._finish(
            Outcome(
                shard=live.shard,
                command_id=header.id,
                status="rejected",
                attempt=header.attempt,
                stream=header.stream,
                at=at,
                fingerprint=header.fingerprint,
                data=Raw(codec.encode_json(_refusal(refusal))),
                refused=_refused_before(known) if refusal.curable else (),
                curable=refusal.curable,
            )
        )

    def _fail(
        self, incoming: Incoming, header: Header, command: Command, error: Exception, known: Outcome | None
    ) -> None:
        self.failed.append(True)
        self._free_claims(header, claims_of(command))
        self._dead_letter(incoming, "failed", f"{type(error).__name__} in {codec.tag_of(command)}", header)
        self._finish(_unfinished(header, "failed", self.streams[header.stream].shard, self.at, known))

    def _set_aside(self, incoming: Incoming, header: Header, known: Outcome | None) -> None:
        if not self.streams[header.stream].quarantine_stored and header.stream not in self.broken:
            self.broken.add(header.stream)
            self.failed.append(True)
        self._dead_letter(incoming, "quarantined", "the stream cannot be folded", header)
        self._finish(_unfinished(header, "quarantined", incoming.record.shard, self.at, known))

    def _finish(self, outcome: Outcome) -> None:
        self.outcomes[outcome.command_id] = outcome
        self.batch.outcomes.append(outcome)

    def _free_claims(self, header: Header, claims: Sequence[Claim]) -> None:
        shard = self.streams[header.stream].shard
        self.batch.claims_freed += [claim_row(claim, shard, header) for claim in claims]

    def _erase(self, recorded: Recorded) -> None:
        """The keys and claims that an event takes with it; in its own transaction, so that nothing can be forgotten."""
        erasure = recorded.event.erasure(recorded.entity_id)
        if erasure is None:
            return
        self.batch.keys_erased += erasure.subjects
        self.batch.claims_released += [
            ClaimRow(kind=kind, value=value, shard=recorded.shard, stream=recorded.stream, command_id="")
            for kind, value in erasure.claims
        ]

    def _dead_letter(self, incoming: Incoming, reason: Any, detail: str, header: Header | None = None) -> None:
        record = incoming.record
        self.batch.dead_letters.append(
            DeadLetter(
                shard=record.shard,
                offset=record.offset,
                reason=reason,
                detail=detail,
                record=record.value,
                at=self.at,
                command_id=header.id if header else None,
                stream=header.stream if header else None,
            )
        )

    def close(self) -> None:
        """Adds what was erased and the new heads of all touched streams, with a snapshot where one is due."""
        for each in self.recorded:
            if _may_erase(type(each.event)):
                self._erase(each)
        freed = self.batch.claims_freed
        self.batch.claims_freed = [row for row in freed if (row.kind, row.value) not in self.claims_kept]
        for name, version in self.versions.items():
            live = self.streams[name]
            if live.version > version or live.quarantined != live.quarantine_stored:
                self.batch.heads.append((version, _head(live)))


@cache
def _may_erase(kind: type[Event]) -> bool:
    return kind.erasure is not Event.erasure


def _head(live: LiveStream) -> StreamHead:
    snapshot = None
    live.quarantine_stored = live.quarantined
    wait = max(SNAPSHOT_EVERY, live.snapshot_bytes // SNAPSHOT_BYTES)
    if live.version - live.snapshot_at >= wait and not live.quarantined:
        snapshot = codec.encode_state(live.last_at, live.state)
        live.snapshot_at, live.snapshot_bytes = live.version, len(snapshot)
    return StreamHead(
        shard=live.shard,
        stream=live.stream,
        version=live.version,
        mac=live.mac,
        due_at=None if live.quarantined else live.aggregate.next_due(live.state),
        snapshot=snapshot,
        snapshot_at=live.snapshot_at if snapshot else 0,
        snapshot_version=live.aggregate.state_version if snapshot else 0,
        quarantined=live.quarantined,
    )


def _evolve(live: LiveStream, event: Event) -> Any:
    try:
        return live.aggregate.evolve(live.state, event)
    except Exception as error:
        raise EvolveFailed(codec.tag_of(event)) from error


def _refused_before(known: Outcome | None) -> tuple[str, ...]:
    return () if known is None else tuple(filter(None, (*known.refused, known.attempt)))[-ATTEMPTS_REMEMBERED:]


def _metadata(header: Header, tag: str) -> Metadata:
    return Metadata(command_id=header.id, account=header.account, actor=header.actor, trace=header.trace, command=tag)


def _refusal(refusal: DomainError) -> dict[str, Any]:
    return {
        "code": refusal.code,
        "kind": refusal.kind,
        "message": refusal.message,
        "detail": refusal.detail,
    }


def _unfinished(header: Header, status: Any, shard: int, at: Instant, known: Outcome | None) -> Outcome:
    return Outcome(
        shard=shard,
        command_id=header.id,
        status=status,
        attempt=header.attempt,
        stream=header.stream,
        at=at,
        fingerprint=header.fingerprint,
        refused=_refused_before(known),
    )


class EvolveFailed(Exception):
    """An event that its own state cannot take: the stream is of no use until it is repaired."""


class RefusedByDatabase(Exception):
    """The rows of this command can never be written."""


def _refused_by_database() -> NoReturn:
    raise RefusedByDatabase
