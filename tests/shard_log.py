"""A shard's log as tests look at it, on every store."""

from collections.abc import AsyncIterator

from eventstore.memory.store import MemoryStore
from eventstore.postgres.events import stored_event
from eventstore.postgres.store import PostgresStore
from eventstore.records import StoredEvent
from eventstore.store import LogStore

AFTER = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac
FROM events
WHERE shard = $1 AND seq > $2
ORDER BY seq
LIMIT $3
"""


async def events_after(store: LogStore, shard: int, seq: int, limit: int) -> list[StoredEvent]:
    """Up to `limit` events of a shard in commit order, behind `seq`."""
    if isinstance(store, PostgresStore):
        return [stored_event(row) for row in await store.pool.fetch(AFTER, shard, seq, limit)]
    assert isinstance(store, MemoryStore)
    return [event for event in store._log[shard] if event.seq > seq][:limit]


async def read_shard(store: LogStore, shard: int, *, page: int = 5_000) -> AsyncIterator[StoredEvent]:
    """All events of a shard in commit order, read in pages so that memory stays bounded."""
    seq = 0
    while events := await events_after(store, shard, seq, page):
        for event in events:
            yield event
        seq = events[-1].seq
