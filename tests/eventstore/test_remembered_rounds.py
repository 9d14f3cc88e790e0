"""A round from memory writes what a locked one would, and nothing where the memory is wrong."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from eventstore.errors import VersionConflict
from eventstore.records import Batch, ShardHead
from eventstore.store import Store
from tests.eventstore.rows import LEASE_S, appending, dead_letter, event, lease, outcome, write

Wrong: TypeAlias = Callable[[ShardHead], ShardHead]


async def _written_once(store: Store) -> ShardHead:
    """A claimed shard with one event and one outcome in it, and its head as it is now."""
    head = (await store.claim("w", 1, LEASE_S))[0]
    batch = appending([event(head.shard, "thing:1", 1, 1)])
    batch.outcomes = [outcome(head.shard, "first")]
    await write(store, "w", [lease(head)], batch)
    return next(each for each in await store.shard_heads() if each.shard == head.shard)


def _second(head: ShardHead, *, expected: int = 1, command_id: str = "second") -> Batch:
    batch = appending([event(head.shard, "thing:1", 2, 2)], expected=expected)
    batch.outcomes = [outcome(head.shard, command_id)]
    batch.dead_letters = [dead_letter(head.shard, 1)]
    return batch


async def _from_memory(store: Store, head: ShardHead, batch: Batch) -> None:
    async with store.round("w", [lease(head)], {head.shard: head}) as round_:
        assert round_.heads == {head.shard: head}
        await round_.write(batch)


async def test_a_round_from_memory_writes_everything(store: Store) -> None:
    """Events, heads, outcomes, dead letters and progress are there afterwards, and the next round goes on from them."""
    head = await _written_once(store)
    await _from_memory(store, head, _second(head))
    stored = await store.stream(head.shard, "thing:1")
    assert stored is not None
    assert [each.version for each in stored.events] == [1, 2]
    assert (await store.read_outcomes([(head.shard, "second")])).keys() == {"second"}
    assert [each.epoch for each in await store.dead_letters()] == [head.epoch]
    moved = next(each for each in await store.shard_heads() if each.shard == head.shard)
    assert (moved.next_offset, moved.seq, moved.last_digest) == (2, 2, b"digest")
    third = appending([event(head.shard, "thing:1", 3, 3)], expected=2)
    await _from_memory(store, moved, third)


async def test_a_few_commands_may_have_many_events(store: Store) -> None:
    """A sweep of one account catches up with years, or ends thousands of holds at once."""
    head = await _written_once(store)
    batch = appending([event(head.shard, "thing:1", number, number) for number in range(2, 2_002)], expected=1)
    await _from_memory(store, head, batch)
    moved = next(each for each in await store.shard_heads() if each.shard == head.shard)
    assert moved.seq == 2_001


@pytest.mark.parametrize(
    "wrong",
    [
        lambda head: replace(head, next_offset=head.next_offset - 1),
        lambda head: replace(head, epoch=head.epoch - 1),
        lambda head: replace(head, owner="another"),
    ],
    ids=["offset", "epoch", "owner"],
)
async def test_a_shard_that_is_not_as_remembered_fails_the_round(store: Store, wrong: Wrong) -> None:
    """I3: whoever had the shard meanwhile has changed its head, and then nothing at all is written."""
    head = await _written_once(store)
    await _unwritten(store, head, wrong(head), _second(head))


async def test_a_stream_that_is_not_as_remembered_fails_the_round(store: Store) -> None:
    """A batch is decided on one version of a stream, and good for no other."""
    head = await _written_once(store)
    await _unwritten(store, head, head, _second(head, expected=0))


async def test_a_command_with_an_outcome_fails_the_round(store: Store) -> None:
    """I1: a repeat is not applied again because nobody looked."""
    head = await _written_once(store)
    await _unwritten(store, head, head, _second(head, command_id="first"))


async def _unwritten(store: Store, head: ShardHead, remembered: ShardHead, batch: Batch) -> None:
    before = await store.shard_heads()
    known = await store.read_outcomes([(head.shard, "first")])
    with pytest.raises(VersionConflict):
        await _from_memory(store, remembered, batch)
    assert await store.shard_heads() == before
    stored = await store.stream(head.shard, "thing:1")
    assert stored is not None
    assert [each.version for each in stored.events] == [1]
    assert await store.read_outcomes([(head.shard, "first"), (head.shard, "second")]) == known
    assert await store.dead_letters() == []


async def test_another_worker_that_claims_the_shard_fences_the_round(store: Store) -> None:
    """A zombie that goes on from what it remembers commits nothing (I3)."""
    head = await _written_once(store)
    await store.give_back("w", [lease(head)])
    assert [each.shard for each in await store.claim("other", 1, LEASE_S)] == [head.shard]
    with pytest.raises(VersionConflict):
        await _from_memory(store, head, _second(head))


async def test_an_exception_leaves_nothing_of_a_round_from_memory(store: Store) -> None:
    """What is left by an exception has written nothing."""
    head = await _written_once(store)

    async def fail() -> None:
        async with store.round("w", [lease(head)], {head.shard: head}) as round_:
            await round_.write(_second(head))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await store.read_outcomes([(head.shard, "second")])) == {}
