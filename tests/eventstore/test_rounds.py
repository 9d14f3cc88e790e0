"""A round commits everything or nothing, and only for who holds its shards."""

import asyncio
import contextlib

import pytest

from eventstore.errors import Fenced, StoreError, Unavailable, VersionConflict
from eventstore.records import Batch, Lease, Progress, StreamHead
from eventstore.store import Store
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import (
    LEASE_S,
    appending,
    claim_row,
    claimed,
    dead_letter,
    event,
    lease,
    outcome,
    write,
)
from tests.shard_log import events_after, read_shard


async def test_a_committed_round_can_be_read_in_full(store: Store) -> None:
    """What a round has written is there afterwards, every field of it, exactly."""
    leases = await claimed(store, "w")
    events = [event(0, "thing:é", version, version) for version in (1, 2, 3)]
    head = StreamHead(
        shard=0,
        stream="thing:é",
        version=3,
        mac=b"mac",
        due_at=7,
        snapshot=b"{}",
        snapshot_at=2,
        snapshot_version=4,
        quarantined=True,
    )
    await write(store, "w", leases, appending(events, head=head))
    stored = await store.stream(0, "thing:é")
    assert stored is not None
    assert stored.head == head
    assert stored.events == events
    assert await events_after(store, 0, 0, 10) == events
    shard = (await store.shard_heads())[0]
    assert (shard.next_offset, shard.seq, shard.last_digest) == (3, 3, b"digest")


async def test_a_round_sees_heads_and_the_events_behind_the_snapshot(store: Store) -> None:
    """A fold starts at the snapshot; a stream never written is left out."""
    leases = await claimed(store, "w")
    events = [event(0, "thing:1", version, version) for version in (1, 2, 3)]
    head = StreamHead(shard=0, stream="thing:1", version=3, mac=b"m", snapshot=b"state", snapshot_at=2)
    await write(store, "w", leases, appending(events, head=head))
    async with store.round("w", leases) as round_:
        assert round_.heads[0].seq == 3
        found = await round_.streams([(0, "thing:1"), (0, "thing:unknown")])
    assert found.keys() == {"thing:1"}
    assert found["thing:1"].head == head
    assert found["thing:1"].events == events[2:]


async def test_a_head_without_a_snapshot_keeps_the_stored_one(store: Store) -> None:
    """Snapshots are written now and then; the heads between them do not lose the last."""
    leases = await claimed(store, "w")
    first = StreamHead(
        shard=0, stream="thing:1", version=1, mac=b"a", snapshot=b"state", snapshot_at=1, snapshot_version=3
    )
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)], head=first))
    await write(store, "w", leases, appending([event(0, "thing:1", 2, 2)], expected=1))
    async with store.round("w", leases) as round_:
        found = (await round_.streams([(0, "thing:1")]))["thing:1"]
    assert (found.head.version, found.head.snapshot) == (2, b"state")
    assert (found.head.snapshot_at, found.head.snapshot_version) == (1, 3)
    assert [each.version for each in found.events] == [2]


async def test_an_exception_leaves_nothing_behind(store: Store) -> None:
    """A round that is left by an exception has written nothing: no event, head, outcome, claim, letter, progress."""
    leases = await claimed(store, "w")
    before = await store.shard_heads()
    batch = appending([event(0, "thing:1", 1, 1)])
    batch.outcomes = [outcome(0, "command")]
    batch.dead_letters = [dead_letter(0, 0)]

    async def fail() -> None:
        async with store.round("w", leases) as round_:
            assert await round_.take_claims([claim_row("a@b", "thing:1")]) == set()
            await round_.write(batch)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.shard_heads() == before
    assert await store.stream(0, "thing:1") is None
    assert await events_after(store, 0, 0, 10) == []
    assert await store.read_outcomes([(0, "command")]) == {}
    assert await store.dead_letters() == []
    async with store.round("w", leases) as round_:
        assert await round_.take_claims([claim_row("a@b", "thing:2")]) == set()


async def test_a_cancelled_round_leaves_nothing_behind_and_frees_its_shards(store: Store) -> None:
    """Cancelling a task in the middle of its round is a roll-back."""
    leases = await claimed(store, "w")
    written = asyncio.Event()

    async def stuck() -> None:
        async with store.round("w", leases) as round_:
            await round_.write(appending([event(0, "thing:1", 1, 1)]))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.stream(0, "thing:1") is None
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)]))


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_another_version_than_expected_is_a_conflict(store: Store, expected: int) -> None:
    """A batch decided on another version of a stream is not written, not even the rest of it."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, appending([event(0, "thing:1", version, version) for version in (1, 2)]))
    batch = appending([event(0, "thing:1", expected + 1, 3)], expected=expected)
    batch.outcomes = [outcome(0, "command")]
    with pytest.raises(VersionConflict):
        await write(store, "w", leases, batch)
    assert await store.read_outcomes([(0, "command")]) == {}
    assert len(await events_after(store, 0, 0, 10)) == 2


async def test_a_round_in_which_a_write_failed_cannot_be_committed(store: Store) -> None:
    """A caller that swallows a conflict does not commit half of its batch, and is told so."""
    leases = await claimed(store, "w")
    conflicting = appending([event(0, "thing:1", 2, 1)], expected=1)
    conflicting.outcomes = [outcome(0, "command")]

    async def swallow() -> None:
        async with store.round("w", leases) as round_:
            with contextlib.suppress(VersionConflict):  # here, or when the round ends
                await round_.write(conflicting)

    with pytest.raises(VersionConflict):
        await swallow()
    assert await store.read_outcomes([(0, "command")]) == {}
    assert (await store.shard_heads())[0].next_offset == 0


async def test_a_head_of_version_zero_can_be_written_and_moved(store: Store) -> None:
    """A stream can be marked before it has an event."""
    leases = await claimed(store, "w")
    marked = StreamHead(shard=0, stream="thing:1", version=0, mac=b"", quarantined=True)
    await write(store, "w", leases, Batch(heads=[(0, marked)]))
    assert await store.quarantined() == ["thing:1"]
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)]))
    assert await store.quarantined() == []


async def test_a_round_is_fenced_by_worker_and_epoch(store: Store) -> None:
    """Who has lost a shard, or never had it, cannot open a round on it; the error names the lost ones."""
    leases = await claimed(store, "w", 2)
    stale = [leases[0], Lease(shard=1, epoch=0)]
    with pytest.raises(Fenced) as refused:
        await write(store, "w", stale, Batch())
    assert refused.value.shards == {1}
    with pytest.raises(Fenced) as refused:
        await write(store, "somebody else", leases, Batch())
    assert refused.value.shards == {0, 1}


async def test_a_zombie_cannot_commit(store: Store) -> None:
    """I3: a worker that slept past its lease in the middle of a round commits nothing, before or after the claim."""
    leases = await claimed(store, "zombie", lease_s=0.0)

    async def sleep_past_the_lease() -> None:
        async with store.round("zombie", leases) as round_:
            await round_.write(appending([event(0, "thing:1", 1, 1)]))
            assert len(await store.claim("successor", SHARDS, LEASE_S)) == SHARDS

    with pytest.raises(StoreError) as refused:
        await sleep_past_the_lease()
    assert isinstance(refused.value, Unavailable | Fenced)
    successor = [lease(head) for head in await store.shard_heads() if head.owner == "successor"]
    with pytest.raises(Fenced):
        await write(store, "zombie", leases, appending([event(0, "thing:1", 1, 1)]))
    assert await events_after(store, 0, 0, 10) == []
    await write(store, "successor", successor, appending([event(0, "thing:1", 1, 1)]))
    assert len(await events_after(store, 0, 0, 10)) == 1


async def test_a_round_over_several_shards_commits_together(store: Store) -> None:
    """Lightly loaded shards share a transaction; a shard without progress stays where it is."""
    leases = await claimed(store, "w", 3)
    batch = Batch(
        events=[event(0, "thing:1", 1, 1), event(2, "thing:2", 1, 1)],
        heads=[
            (0, StreamHead(shard=0, stream="thing:1", version=1, mac=b"")),
            (0, StreamHead(shard=2, stream="thing:2", version=1, mac=b"")),
        ],
        progress=[
            Progress(shard=2, next_offset=8, seq=1, last_digest=b"two"),
            Progress(shard=0, next_offset=5, seq=1, last_digest=b"zero"),
        ],
    )
    await write(store, "w", leases, batch)
    heads = await store.shard_heads()
    assert [head.next_offset for head in heads] == [5, 0, 8, 0]
    assert [head.last_digest for head in heads] == [b"zero", b"", b"two", b""]


async def test_the_log_of_a_shard_has_no_gaps_and_its_commits_order(store: Store) -> None:
    """A reader that follows `seq` misses nothing: rolled-back rounds leave no holes."""
    leases = await claimed(store, "w")
    committed = 0
    for number in range(12):
        rolled_back = number % 3 == 2
        with contextlib.suppress(ZeroDivisionError):
            async with store.round("w", leases) as round_:
                seq = round_.heads[0].seq
                await round_.write(appending([event(0, "thing:1", committed + 1, seq + 1)], expected=committed))
                if rolled_back:
                    raise ZeroDivisionError
        committed += not rolled_back
    assert [each.seq async for each in read_shard(store, 0, page=3)] == [1, 2, 3, 4, 5, 6, 7, 8]
