"""What could not be applied is kept until an operator has said what to do with it."""

from msgspec.structs import replace

from eventstore.records import Batch, DeadLetter, StreamHead
from eventstore.store import Store
from tests.eventstore.rows import claimed, dead_letter, write


def _listed(*letters: DeadLetter) -> list[DeadLetter]:
    return [replace(letter, record=b"") for letter in letters]


async def test_dead_letters_are_listed_oldest_first(store: Store) -> None:
    """Every field but the record is listed; the order is that of time, then of shard and offset; the limit holds."""
    leases = await claimed(store, "w", 2)
    old = dead_letter(1, 7, at=1, reason="undecodable", stream="thing:1", command_id="c")
    same_time = [dead_letter(0, 9, at=5), dead_letter(0, 10, at=5), dead_letter(1, 1, at=5)]
    await write(store, "w", leases, Batch(dead_letters=[*reversed(same_time), old]))
    assert await store.dead_letters() == _listed(old, *same_time)
    assert await store.dead_letters(limit=2) == _listed(old, same_time[0])
    assert await store.dead_letter(*old.place) == old


async def test_a_closed_dead_letter_is_listed_under_its_state(store: Store) -> None:
    """What an operator has seen to is open no more."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, Batch(dead_letters=[dead_letter(0, 3)]))
    await write(store, "w", leases, Batch(dead_letters=[dead_letter(0, 3, state="retried")]))
    assert await store.dead_letters() == []
    assert await store.dead_letters(state="retried") == _listed(dead_letter(0, 3, state="retried"))
    assert await store.dead_letter(0, 1, 4) is None


async def test_a_record_that_fails_again_is_open_again(store: Store) -> None:
    """The same record is one dead letter, with the latest reason."""
    leases = await claimed(store, "w")
    await write(store, "w", leases, Batch(dead_letters=[dead_letter(0, 3)]))
    again = dead_letter(0, 3, detail="another error", at=9)
    await write(store, "w", leases, Batch(dead_letters=[again]))
    assert await store.dead_letters() == _listed(again)


async def test_a_recreated_log_overwrites_nothing(store: Store) -> None:
    """After `adopt` the offsets begin again: letters of the log before stay, and stay before those of the new one."""
    leases = await claimed(store, "w")
    new = dead_letter(0, 3, epoch=0, at=5, reason="quarantined", stream="thing:1")
    await write(store, "w", leases, Batch(dead_letters=[new]))
    await store.adopt(0, 0, 10)
    leases = await claimed(store, "w")
    await write(store, "w", leases, Batch(dead_letters=[replace(new, detail="after"), replace(new, offset=1)]))
    letters = await store.dead_letters()
    assert [(each.offset, each.detail) for each in letters] == [(3, new.detail), (1, new.detail), (3, "after")]
    in_order = await store.set_aside(0, "thing:1", 10)
    assert _listed(*in_order) == letters
    assert await store.count_set_aside(0, "thing:1") == 3
    assert await store.dead_letter(*in_order[0].place) == in_order[0]


async def test_quarantined_streams_are_listed(store: Store) -> None:
    """An operator sees which streams cannot be folded."""
    leases = await claimed(store, "w")
    heads = [
        (0, StreamHead(shard=0, stream=stream, version=0, mac=b"", quarantined=stream != "fine"))
        for stream in ("b", "a", "fine")
    ]
    await write(store, "w", leases, Batch(heads=heads))
    assert await store.quarantined() == ["a", "b"]
