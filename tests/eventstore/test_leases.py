"""Each shard has one owner at a time, and never stays without one."""

import asyncio

import pytest

from eventstore.errors import Fenced
from eventstore.records import Batch, StreamHead
from eventstore.store import Store
from tests.eventstore.conftest import SHARDS, until
from tests.eventstore.rows import LEASE_S, appending, claimed, event, lease, write


async def test_the_number_of_shards_is_that_of_the_first_migration(store: Store) -> None:
    """P is part of the store, and every shard has a head from the start."""
    assert await store.shards() == SHARDS
    heads = await store.shard_heads()
    assert [head.shard for head in heads] == list(range(SHARDS))
    assert {(head.owner, head.epoch, head.next_offset, head.seq, head.last_digest) for head in heads} == {
        (None, 0, 0, 0, b"")
    }


async def test_a_claim_takes_free_shards_up_to_the_count(store: Store) -> None:
    """Shards are taken by number; each claim raises the epoch; what is taken is not free."""
    first = await store.claim("a", 3, LEASE_S)
    assert [(head.shard, head.owner, head.epoch) for head in first] == [(0, "a", 1), (1, "a", 1), (2, "a", 1)]
    assert [head.shard for head in await store.claim("b", 3, LEASE_S)] == [3]
    assert await store.claim("b", 3, LEASE_S) == []
    assert await store.claim("a", 0, LEASE_S) == []


async def test_shunned_shards_are_left_to_others(store: Store) -> None:
    """They do not stand in the way of those behind them."""
    assert [head.shard for head in await store.claim("a", 2, LEASE_S, [0, 2])] == [1, 3]
    assert await store.claim("a", 2, LEASE_S, [0, 2]) == []
    assert [head.shard for head in await store.claim("b", SHARDS, LEASE_S)] == [0, 2]


async def test_claims_at_once_never_give_a_shard_twice(store: Store) -> None:
    """Workers that start together share the shards out without a duplicate or a rest."""
    claims = await asyncio.gather(*(store.claim(f"w{number}", 2, LEASE_S) for number in range(4)))
    taken = [head.shard for heads in claims for head in heads]
    assert sorted(taken) == sorted(set(taken))

    async def all_taken() -> bool:
        await store.claim("rest", SHARDS, LEASE_S)
        return all(head.owner for head in await store.shard_heads())

    await until(all_taken)
    assert {head.epoch for head in await store.shard_heads()} == {1}


async def test_an_expired_lease_is_free_for_others(store: Store) -> None:
    """A worker that died is succeeded once its lease has ended, with a higher epoch."""
    await claimed(store, "dead", lease_s=0.05)

    async def succeeded() -> bool:
        return bool(await store.claim("successor", 1, LEASE_S) and (await store.shard_heads())[0].owner == "successor")

    await until(succeeded)
    assert (await store.shard_heads())[0].epoch == 2


async def test_renewing_prolongs_a_lease(store: Store) -> None:
    """An idle worker keeps its shards by renewing them."""
    leases = await claimed(store, "w", lease_s=0.0)
    await store.renew("w", leases, LEASE_S)
    assert [head.shard for head in await store.claim("other", SHARDS, LEASE_S)] == [1, 2, 3]


async def test_a_commit_renews_the_leases_of_its_round(store: Store) -> None:
    """A busy worker need not renew beside its rounds: even one that writes nothing prolongs by the lease's length."""
    leases = await claimed(store, "w", 2, lease_s=0.3)
    clock = asyncio.get_running_loop().time
    started = clock()
    last = started
    while clock() - started < 0.6:
        async with store.round("w", leases) as round_:
            last = clock()
            if last - started < 0.3:
                await round_.write(Batch())
        await asyncio.sleep(0.01)
    assert {head.epoch for head in await store.shard_heads() if head.owner == "w"} == {1}

    async def lost() -> bool:
        return 0 in {head.shard for head in await store.claim("other", SHARDS, LEASE_S)}

    await until(lost)
    assert clock() - last >= 0.3


async def test_renewing_a_lost_shard_is_fenced(store: Store) -> None:
    """A worker hears from its next renewal which shards it has lost."""
    leases = await claimed(store, "w", 2, lease_s=0.0)
    [lost, kept] = leases
    await claimed(store, "other")
    with pytest.raises(Fenced) as refused:
        await store.renew("w", [lost, kept], LEASE_S)
    assert refused.value.shards == {0}
    await store.renew("w", [kept], LEASE_S)


async def test_a_shard_given_back_is_free_at_once(store: Store) -> None:
    """Surplus moves without anybody waiting for a lease; the former owner is fenced."""
    leases = await claimed(store, "a", 2)
    await store.give_back("a", leases[:1])
    assert [head.shard for head in await store.claim("b", 1, LEASE_S)] == [0]
    with pytest.raises(Fenced):
        await write(store, "a", leases, Batch())
    await write(store, "a", leases[1:], Batch())


async def test_giving_back_what_is_lost_changes_nothing(store: Store) -> None:
    """A late surrender does not take the shard from its new owner."""
    leases = await claimed(store, "a", lease_s=0.0)
    successor = await claimed(store, "b")
    await store.give_back("a", leases)
    await write(store, "b", successor, Batch())


async def test_retiring_gives_back_everything(store: Store) -> None:
    """A worker that stops in order leaves free shards and is no longer counted."""
    assert await store.announce("a", LEASE_S) == 1
    assert await store.announce("b", LEASE_S) == 2
    await claimed(store, "a", 3)
    await store.retire("a")
    assert await store.announce("b", LEASE_S) == 1
    assert len(await claimed(store, "b", SHARDS)) == SHARDS


async def test_only_living_workers_are_counted(store: Store) -> None:
    """A worker that has not announced itself for the length of its lease has no share any more."""
    await store.announce("dead", 0.05)

    async def alone() -> bool:
        return await store.announce("living", LEASE_S) == 1

    await until(alone)


async def test_a_shard_can_be_stopped_and_adopted(store: Store) -> None:
    """The reason is there for every process to see; an operator's word frees the shard and raises its epoch."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)]))
    await store.stop_shard("w", leases[0], "the topic was recreated")
    head = (await store.shard_heads())[0]
    assert (head.stopped, head.adopt_until) == ("the topic was recreated", 0)
    async with store.round("w", leases) as round_:
        assert round_.heads[0].stopped == "the topic was recreated"
    await store.adopt(0, 17, 20)
    head = (await store.shard_heads())[0]
    assert (head.stopped, head.adopt_until, head.next_offset, head.last_digest) == (None, 20, 17, b"")
    assert (head.owner, head.epoch, head.seq) == (None, 2, 1)
    [again] = await store.claim("w", 1, LEASE_S)
    assert (again.next_offset, again.adopt_until) == (17, 20)
    with pytest.raises(Fenced):
        await store.stop_shard("w", leases[0], "too late")
    await store.stop_shard("w", lease(again), None)


async def test_what_is_due_comes_most_overdue_first(store: Store) -> None:
    """The sweeper sees streams of its shards that are due, in order of time and then name, up to a limit."""
    leases = await claimed(store, "w", 3)
    for shard, stream, due_at in (
        (0, "b", 5),
        (0, "a", 5),
        (0, "late", 9),
        (1, "first", 1),
        (2, "foreign", 1),
        (1, "never", None),
    ):
        seq = (await store.shard_heads())[shard].seq + 1
        batch = appending([event(shard, stream, 1, seq)])
        batch.heads = [(0, StreamHead(shard=shard, stream=stream, version=1, mac=b"", due_at=due_at))]
        await write(store, "w", leases, batch)
    assert await store.due([0, 1], 5, 10) == [("first", 1), ("a", 5), ("b", 5)]
    assert await store.due([0, 1], 5, 2) == [("first", 1), ("a", 5)]
    assert await store.due([0, 1], 9, 10) == [("first", 1), ("a", 5), ("b", 5), ("late", 9)]
    assert await store.due([], 9, 10) == []
