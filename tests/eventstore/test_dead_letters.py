"""What could not be applied is kept until an operator has said what to do with it."""

from eventstore.records import Batch, StreamHead
from eventstore.store import Store
from tests.eventstore.rows import claimed, dead_letter, write


async def test_dead_letters_are_listed_oldest_first(store: Store) -> None:
    """Every field comes back; the order is that of time, then of shard and offset; the limit holds."""
    leases = await claimed(store, "w", 2)
    old = dead_letter(1, 7, at=1, reason="undecodable", stream="thing:1", command_id="c")
    same_time = [dead_letter(0, 9, at=5), dead_letter(0, 10, at=5), dead_letter(1, 1, at=5)]
    await write(store, "w", leases, Batch(dead_letters=[*reversed(same_time), old]))
    assert await store.dead_letters() == [old, *same_time]
    assert await store.dead_letters(limit=2) == [old, same_time[0]]


async def test_a_dead_letter_is_closed_once(store: Store) -> None:
    """Of two operators one is told that the other was faster; what is closed is listed under its state."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, Batch(dead_letters=[dead_letter(0, 3)]))
    assert await store.mark_dead_letter(0, 3, "retried")
    assert not await store.mark_dead_letter(0, 3, "dropped")
    assert not await store.mark_dead_letter(0, 4, "dropped")
    assert await store.dead_letters() == []
    assert await store.dead_letters(state="retried") == [dead_letter(0, 3, state="retried")]


async def test_a_record_that_fails_again_is_open_again(store: Store) -> None:
    """The same record is one dead letter, with the latest reason."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, Batch(dead_letters=[dead_letter(0, 3)]))
    await store.mark_dead_letter(0, 3, "retried")
    again = dead_letter(0, 3, detail="another error", at=9)
    await write(store, "w", leases, Batch(dead_letters=[again]))
    assert await store.dead_letters() == [again]


async def test_quarantined_streams_are_listed(store: Store) -> None:
    """An operator sees which streams cannot be folded."""
    leases = await claimed(store, "w")
    heads = [
        (0, StreamHead(shard=0, stream=stream, version=0, mac=b"", quarantined=stream != "fine"))
        for stream in ("b", "a", "fine")
    ]
    await write(store, "w", leases, Batch(heads=heads))
    assert await store.quarantined() == ["a", "b"]
