"""What goes to the outside: read once, in order per account, and never lost by whoever dies in between."""

import asyncio
from typing import Any

from msgspec.structs import replace

from eventstore.outbox import Backlog, Delivery
from eventstore.store import Store
from tests.eventstore.rows import appending, claimed, event, write

AT = 1_000_000
TARGET = "webhook"


def delivery(seq: int, account: str = "a", **fields: Any) -> Delivery:
    """One that waits, made at `AT`."""
    defaults: dict[str, Any] = {"target": TARGET, "shard": 0, "id": f"evt_{account}_{seq}", "type": "t"}
    defaults |= {"body": b"\x00\xff", "created_at": AT, "due_at": AT}
    return Delivery(account=account, seq=seq, **(defaults | fields))


async def enqueued(store: Store, *deliveries: Delivery) -> None:
    """Added, on shards that a reader has begun."""
    await store.begin_reading(TARGET)
    for shard in {each.shard for each in deliveries}:
        assert await store.enqueue(TARGET, shard, 0, 0, [each for each in deliveries if each.shard == shard])


async def take(store: Store, at: int = AT, *, who: str = "w", limit: int = 10, claim: int = 100) -> list[Delivery]:
    """What is due on all shards, claimed."""
    return await store.claim_deliveries(who, TARGET, range(4), at, at + claim, limit)


async def test_a_reader_begins_at_the_end(store: Store) -> None:
    """What was there before is not told; what comes after is, wherever the reader is asked for it again."""
    leases = await claimed(store, "w", 2)
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)]))
    await store.begin_reading(TARGET)
    assert await store.unread(TARGET, [0, 1, 2]) == []
    await write(store, "w", leases, appending([event(0, "thing:2", 1, 2), event(0, "thing:2", 2, 3)]))
    await store.begin_reading(TARGET)
    (unread,) = await store.unread(TARGET, [0, 1, 2])
    assert (unread.shard, unread.position, unread.end, unread.waiting) == (0, 1, 3, 0)
    assert await store.unread("another", [0]) == []
    assert await store.unread(TARGET, [1]) == []


async def test_events_are_read_by_range_and_type(store: Store) -> None:
    """Of the range, in order, those of the types that the reader knows."""
    leases = await claimed(store, "w")
    events = [event(0, "thing:1", seq, seq) for seq in range(1, 6)]
    await write(store, "w", leases, appending(events))
    assert await store.events_of(0, 1, 4, ["thing.happened", "other"]) == events[1:4]
    assert await store.events_of(0, 0, 5, ["other"]) == []


async def test_a_range_is_read_once(store: Store) -> None:
    """Who comes second, or late, moves nothing and adds nothing: a zombie can neither repeat nor skip."""
    await store.begin_reading(TARGET)
    assert await store.enqueue(TARGET, 0, 0, 5, [delivery(3)])
    assert not await store.enqueue(TARGET, 0, 0, 7, [delivery(4), delivery(6)])
    assert not await store.enqueue(TARGET, 0, 3, 7, [delivery(4)])
    assert await store.enqueue(TARGET, 0, 5, 6, [])
    assert not await store.enqueue("unknown", 0, 0, 5, [delivery(9)])
    assert [each.seq for each in await store.deliveries("waiting", 10)] == [3]


async def test_of_many_at_once_one_reads(store: Store) -> None:
    """Only one of many enqueues of the same range counts."""
    await store.begin_reading(TARGET)
    done = await asyncio.gather(
        *(store.enqueue(TARGET, 0, 0, 5, [delivery(1, id=f"evt_{number}")]) for number in range(8))
    )
    assert sorted(done) == [False] * 7 + [True]
    assert len(await store.deliveries("waiting", 10)) == 1


async def test_the_first_of_each_account_is_taken(store: Store) -> None:
    """The next waits for the one before; other accounts go on; the bytes are as they were made."""
    made = [delivery(1), delivery(2), delivery(2, "b", shard=1), delivery(5, "b", shard=1, part=1)]
    await enqueued(store, *made)
    first = await take(store)
    assert [(each.account, each.seq, each.body) for each in first] == [("a", 1, b"\x00\xff"), ("b", 2, b"\x00\xff")]
    assert [(each.attempts, each.first_sent_at, each.claimed_by) for each in first] == [(1, AT, "w")] * 2
    assert await take(store, who="other") == []
    await store.finish_delivery(first[1])
    assert [(each.account, each.seq) for each in await take(store)] == [("b", 5)]
    await store.finish_delivery(first[0])
    assert [(each.account, each.seq) for each in await take(store)] == [("a", 2)]


async def test_claims_are_limited_to_target_shard_and_number(store: Store) -> None:
    """Nobody takes what is another's, or more than it can send."""
    await enqueued(store, delivery(1), delivery(1, "b", shard=1), delivery(1, "c", shard=2))
    assert await store.claim_deliveries("w", "autumn", [0, 1, 2], AT, AT + 9, 10) == []
    assert [each.account for each in await store.claim_deliveries("w", TARGET, [1], AT, AT + 9, 10)] == ["b"]
    assert [each.account for each in await take(store, limit=1)] == ["a"]
    assert await take(store, AT - 1) == []


async def test_of_many_at_once_one_claims(store: Store) -> None:
    """Each delivery is sent by one at a time."""
    await enqueued(store, *(delivery(seq, account) for account in "abcdef" for seq in (1, 2)))
    taken = await asyncio.gather(*(take(store, who=f"w{number}", limit=2) for number in range(8)))
    ids = [each.id for some in taken for each in some]
    assert len(ids) == len(set(ids))
    assert {each.rpartition("_")[2] for each in ids} == {"1"}


async def test_a_claim_ends(store: Store) -> None:
    """What a dead sender had claimed is taken by the next; what the dead one says afterwards changes nothing."""
    await enqueued(store, delivery(1))
    (dead,) = await take(store, who="dead")
    assert await take(store, AT + 99, who="next") == []
    (again,) = await take(store, AT + 100, who="next")
    assert (again.attempts, again.first_sent_at) == (2, AT)
    await store.postpone_delivery(replace(dead, due_at=AT + 9_999, problem="late"))
    await store.finish_delivery(dead)
    assert [each.claimed_by for each in await store.deliveries("waiting", 9)] == ["next"]
    await store.finish_delivery(again)
    assert await store.deliveries("waiting", 9) == []


async def test_a_sender_that_ends_frees_its_claims(store: Store) -> None:
    """Nobody waits for somebody who has said goodbye."""
    await enqueued(store, delivery(1), delivery(1, "b"))
    await take(store, who="other", limit=1)
    await take(store, who="gone")
    await store.release_deliveries("gone")
    assert [each.account for each in await take(store)] == ["b"]


async def test_a_failed_one_holds_up_its_account_alone(store: Store) -> None:
    """Those behind it are due when it is; if it is dead they go on."""
    await enqueued(store, delivery(1), delivery(2), delivery(1, "b"))
    first, _ = await take(store)
    await store.postpone_delivery(replace(first, due_at=AT + 50, problem="status 500", first_sent_at=None))
    due = {each.id: (each.due_at, each.problem) for each in await store.deliveries("waiting", 9)}
    assert due == {"evt_a_1": (AT + 50, "status 500"), "evt_a_2": (AT + 50, ""), "evt_b_1": (AT, "")}
    assert await take(store, AT + 49) == []
    (again,) = await take(store, AT + 50)
    assert (again.id, again.first_sent_at) == ("evt_a_1", AT + 50)
    await store.postpone_delivery(replace(again, state="dead", problem="timed out"))
    assert [each.id for each in await take(store, AT + 50)] == ["evt_a_2"]
    assert [(each.id, each.body) for each in await store.deliveries("dead", 9)] == [("evt_a_1", b"")]


async def test_dead_ones_are_revived_or_dropped(store: Store) -> None:
    """By their ids or all of them; what is revived has its day again and comes before what was made after it."""
    await enqueued(
        store, *(delivery(seq, state="dead" if seq < 4 else "waiting", first_sent_at=5) for seq in range(1, 5))
    )
    assert await store.drop_deliveries(["evt_a_2", "none"]) == 1
    assert await store.revive_deliveries(["evt_a_1"], AT + 7) == 1
    (revived,) = await take(store, AT + 7)
    assert (revived.id, revived.created_at, revived.first_sent_at) == ("evt_a_1", AT + 7, AT + 7)
    assert await store.revive_deliveries(None, AT + 8) == 1
    assert await store.drop_deliveries(None) == 0
    assert [each.id for each in await store.deliveries("waiting", 9)] == ["evt_a_4", "evt_a_1", "evt_a_3"]


async def test_a_repeat_from_the_log_is_added_once(store: Store) -> None:
    """One that waits stays as it is, a dead one is revived, one that is gone comes back."""
    await enqueued(store, delivery(1, state="dead", problem="p", attempts=9), delivery(2, attempts=3))
    again = [delivery(seq, created_at=AT + 1, due_at=AT + 1) for seq in (1, 2, 3)]
    assert await store.enqueue_again(again) == 2
    found = {each.seq: (each.attempts, each.created_at) for each in await store.deliveries("waiting", 9)}
    assert found == {1: (0, AT + 1), 2: (3, AT), 3: (0, AT + 1)}


async def test_backlog_is_counted_by_target(store: Store) -> None:
    """What waits, what is dead, and since when the oldest waits."""
    assert await store.backlog() == []
    await enqueued(store, delivery(1), delivery(2, created_at=7), delivery(3, state="dead", created_at=1))
    assert await store.backlog() == [Backlog(target=TARGET, waiting=2, dead=1, oldest_at=7)]
    leases = await claimed(store, "w")
    await write(store, "w", leases, appending([event(0, "thing:1", 1, 1)]))
    assert [each.waiting for each in await store.unread(TARGET, [0])] == [2]
