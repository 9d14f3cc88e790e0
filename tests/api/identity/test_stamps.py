"""The poller of stamps: goes on through outages, begins anew with another database, and shares reads."""

import asyncio
from collections.abc import Mapping

import pytest

from api.identity.identity_cache import IdentityCache
from api.identity.stamps import StampsPoller
from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch, Progress
from projections.documents import Row
from projections.memory import MemoryDocuments
from tests.api.identity.identity import identity
from tests.api.running import SHARDS
from tests.eventstore.rows import claimed, write


class Documents(MemoryDocuments):
    """Away when told to, and answers what was stamped when it was asked as soon as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def newer(self, collection: str, positions: Mapping[int, str], limit: int) -> list[Row]:
        """See `DocumentReader`."""
        if self.away:
            raise Unavailable("away")
        self.asked += 1
        found = await super().newer(collection, positions, limit)
        await self.may_answer.wait()
        return found


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_polling_survives_an_outage() -> None:
    """The poller goes on when the store comes back, and starts without it."""
    documents, cache = Documents(), IdentityCache()
    documents.away = True
    poller = StampsPoller(cache, MemoryStore(SHARDS, lambda: 0), documents, poll_s=0.001)
    await poller.start()
    try:
        assert not poller.confirmed
        documents.away = False
        async with asyncio.timeout(5):
            while not poller.confirmed:
                await asyncio.sleep(0.001)
    finally:
        await poller.stop()


async def test_a_restored_database_begins_the_stamps_anew() -> None:
    """Where an older database was put in place under a running API, nothing cached stays, and new stamps are seen."""
    store, cache = MemoryStore(SHARDS, lambda: 0), IdentityCache()
    poller = StampsPoller(cache, store, Documents())
    leases = await claimed(store, "w")

    async def reaches(seq: int) -> None:
        progress = Progress(shard=leases[0].shard, next_offset=seq, seq=seq, last_digest=b"")
        await write(store, "w", leases, Batch(progress=[progress]))

    await reaches(50)
    await poller.poll()
    cache.keep(b"digest", identity("key_1"), cache.generation)
    await reaches(51)
    await poller.poll()
    assert cache.get(b"digest") is not None
    await reaches(10)
    await poller.poll()
    assert cache.get(b"digest") is None
    cache.keep(b"digest", identity("key_1"), cache.generation)
    await poller.poll()
    assert cache.get(b"digest") is not None


async def test_who_needs_fresh_authority_shares_a_read_that_began_after_it_came() -> None:
    """A read on its way when they come may have missed what they must hear of: they wait for one more, all of them."""
    store, documents, cache = MemoryStore(SHARDS, lambda: 0), Documents(), IdentityCache()
    poller = StampsPoller(cache, store, documents)
    await poller.poll()
    documents.may_answer.clear()
    documents.asked = 0
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(poller.hear())
        while not documents.asked:
            await asyncio.sleep(0)
        for _ in range(50):
            group.create_task(poller.hear())
        gone = group.create_task(poller.hear())
        await asyncio.sleep(0)
        gone.cancel()
        documents.may_answer.set()
    assert documents.asked == 2
