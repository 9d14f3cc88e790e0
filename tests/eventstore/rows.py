"""Rows to write, with everything filled in that a test does not speak of."""

import time
from collections.abc import Iterable

from domain.instant import Instant
from eventstore.records import Batch, ClaimRow, DeadLetter, Lease, Outcome, Progress, ShardHead, StoredEvent, StreamHead
from eventstore.store import Store

LEASE_S = 30.0


def now() -> Instant:
    """Microseconds since 1970, as the stores' clocks count them."""
    return time.time_ns() // 1_000


def event(shard: int, stream: str, version: int, seq: int) -> StoredEvent:
    """An event of a stream at its place, every field of it telling."""
    return StoredEvent(
        shard=shard,
        stream=stream,
        version=version,
        seq=seq,
        at=1_700_000_000_123_456 + seq,
        type="thing.happened",
        schema_version=2,
        payload=b'{"version": %d, "text": "\xc3\xa9 \\u0000"}' % version,
        metadata=b'{"command_id":"command"}',
        mac=b"key:\x00\xff" + bytes([version % 256]),
    )


def outcome(shard: int, command_id: str, **fields: object) -> Outcome:
    """An applied command's outcome, or what `fields` make of it."""
    defaults: dict[str, object] = {
        "status": "applied",
        "attempt": "attempt-1",
        "stream": "thing:1",
        "at": 1_700_000_000_123_456,
    }
    return Outcome(shard=shard, command_id=command_id, **(defaults | fields))  # type: ignore[arg-type]  # fields by name


def claim_row(value: str, stream: str, *, shard: int = 0, command_id: str | None = None) -> ClaimRow:
    """The claim of a stream on an email, made by a command of its own."""
    return ClaimRow(kind="email", value=value, shard=shard, stream=stream, command_id=command_id or f"of {stream}")


def dead_letter(shard: int, offset: int, **fields: object) -> DeadLetter:
    """A record that failed, in the first epoch of its shard."""
    defaults: dict[str, object] = {
        "reason": "failed",
        "detail": "Error in thing.do",
        "record": b"\x00\xff",
        "at": offset,
        "epoch": 1,
    }
    return DeadLetter(shard=shard, offset=offset, **(defaults | fields))  # type: ignore[arg-type]  # fields by name


def lease(head: ShardHead) -> Lease:
    """The lease that a claim has given."""
    return Lease(shard=head.shard, epoch=head.epoch)


async def claimed(store: Store, worker: str, count: int = 1, lease_s: float = LEASE_S) -> list[Lease]:
    """Leases of the first free shards."""
    return [lease(head) for head in await store.claim(worker, count, lease_s)]


def appending(events: Iterable[StoredEvent], *, head: StreamHead | None = None, expected: int = 0) -> Batch:
    """A batch that appends events of one stream and moves its head and its shard's along."""
    appended = list(events)
    last = appended[-1]
    moved = head or StreamHead(shard=last.shard, stream=last.stream, version=last.version, mac=last.mac)
    progress = Progress(shard=last.shard, next_offset=last.seq, seq=last.seq, last_digest=b"digest")
    return Batch(events=appended, heads=[(expected, moved)], progress=[progress])


async def write(store: Store, worker: str, leases: list[Lease], batch: Batch) -> None:
    """One round that does nothing but write."""
    async with store.round(worker, leases) as round_:
        await round_.write(batch)
