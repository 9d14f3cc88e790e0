"""A shard's log as tests look at it, on every store."""

from collections.abc import AsyncIterator

from eventstore.records import StoredEvent
from eventstore.store import LogStore


async def read_shard(store: LogStore, shard: int, *, page: int = 5_000) -> AsyncIterator[StoredEvent]:
    """All events of a shard in commit order, read in pages so that memory stays bounded."""
    seq = 0
    while events := await store.events_after(shard, seq, page):
        for event in events:
            yield event
        seq = events[-1].seq
