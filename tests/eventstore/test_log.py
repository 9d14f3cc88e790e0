"""The log is read in commit order, a page at a time."""

from eventstore.store import Store
from tests.eventstore.rows import appending, claimed, event, write
from tests.shard_log import events_after, read_shard


async def test_pages_follow_the_order_of_commits(store: Store) -> None:
    """The log gives a shard's events behind a position, in order, up to the limit, and no other shard's."""
    leases = await claimed(store, "w", 2)
    streams = ["thing:b", "thing:a", "thing:b", "thing:a"]
    versions: dict[str, int] = {}
    written = []
    for seq, stream in enumerate(streams, start=1):
        version = versions.get(stream, 0)
        written.append(event(0, stream, version + 1, seq))
        await write(store, "w", leases, appending(written[-1:], expected=version))
        versions[stream] = version + 1
    await write(store, "w", leases, appending([event(1, "thing:c", 1, 1)]))
    assert await events_after(store, 0, 0, 2) == written[:2]
    assert await events_after(store, 0, 2, 10) == written[2:]
    assert await events_after(store, 0, 4, 10) == []
    assert [each async for each in read_shard(store, 0, page=3)] == written


async def test_a_stream_that_was_never_written_is_none(store: Store) -> None:
    """Nothing is made up for an unknown stream."""
    assert await store.stream(0, "thing:unknown") is None
    assert await events_after(store, 3, 0, 10) == []


async def test_a_large_batch_is_written_whole(store: Store) -> None:
    """Thousands of rows go in one round, in order."""
    leases = await claimed(store, "w")
    events = [event(0, "thing:1", number, number) for number in range(1, 5_001)]
    await write(store, "w", leases, appending(events))
    assert [each.seq async for each in read_shard(store, 0, page=999)] == list(range(1, 5_001))
    stored = await store.stream(0, "thing:1")
    assert stored is not None
    assert stored.events == events


async def test_a_stream_is_read_page_by_page(store: Store) -> None:
    """`stream_events` gives a stream's events behind a version, in order, up to the limit, and no other stream's."""
    leases = await claimed(store, "w", 1)
    written = [event(0, "thing:a", number, number) for number in range(1, 6)]
    await write(store, "w", leases, appending(written))
    await write(store, "w", leases, appending([event(0, "thing:b", 1, 6)]))
    assert await store.stream_events(0, "thing:a", 0, 2) == written[:2]
    assert await store.stream_events(0, "thing:a", 2, 10) == written[2:]
    assert await store.stream_events(0, "thing:a", 5, 10) == []
    assert await store.stream_events(0, "thing:unknown", 0, 10) == []


async def test_a_head_is_read_alone(store: Store) -> None:
    """`head` tells where a stream ends, and `None` of one that was never written."""
    leases = await claimed(store, "w", 1)
    await write(store, "w", leases, appending([event(0, "thing:a", 1, 1), event(0, "thing:a", 2, 2)]))
    head = await store.head(0, "thing:a")
    assert head is not None
    assert (head.stream, head.version) == ("thing:a", 2)
    assert await store.head(0, "thing:unknown") is None
