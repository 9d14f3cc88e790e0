"""Telling API processes what was decided."""

import asyncio
from collections.abc import Sequence

from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore
from eventstore.records import Outcome
from worker.telling import WAITING_MAX, Teller


class Store(MemoryStore):
    """A store that tells when it is let, and can be away."""

    def __init__(self) -> None:
        super().__init__(4, lambda: 0)
        self.may_tell = asyncio.Event()
        self.away = False
        self.told: list[list[str]] = []

    async def tell_decided(self, command_ids: Sequence[str]) -> None:
        """See `store.DecidedStore`."""
        await self.may_tell.wait()
        self.told.append(list(command_ids))
        if self.away:
            raise Unavailable("away")


def _outcomes(*ids: str) -> list[Outcome]:
    return [
        Outcome(shard=1, command_id=each, status="applied", attempt="a", stream="user:1", at=1, fingerprint=None)
        for each in ids
    ]


async def _until(store: Store, count: int) -> None:
    async with asyncio.timeout(5):
        while len(store.told) < count:
            await asyncio.sleep(0)


async def test_what_is_decided_meanwhile_goes_together() -> None:
    """One statement at a time, however many rounds there are."""
    store = Store()
    teller = Teller(store)
    teller.decided(_outcomes("c1", "c2"))
    await asyncio.sleep(0)
    teller.decided(_outcomes("c3"))
    teller.decided(_outcomes("c4"))
    store.may_tell.set()
    await _until(store, 2)
    assert store.told == [["c1", "c2"], ["c3", "c4"]]
    await teller.close()


async def test_goes_on_after_a_failure() -> None:
    """A store that is away is told the next commands all the same."""
    store = Store()
    store.away = True
    store.may_tell.set()
    teller = Teller(store)
    teller.decided(_outcomes("c1"))
    await _until(store, 1)
    store.away = False
    teller.decided(_outcomes("c2"))
    await _until(store, 2)
    assert store.told == [["c1"], ["c2"]]
    await teller.close()


async def test_keeps_no_more_than_its_bound() -> None:
    """A store that stands still does not fill the worker's memory."""
    store = Store()
    teller = Teller(store)
    teller.decided(_outcomes("first"))
    await asyncio.sleep(0)
    for _ in range(3):
        teller.decided(_outcomes(*(f"c{number}" for number in range(WAITING_MAX - 1))))
    store.may_tell.set()
    await _until(store, 2)
    assert [len(each) for each in store.told] == [1, WAITING_MAX]
    await teller.close()


async def test_closes_while_the_store_stands_still() -> None:
    """Closing waits for nobody."""
    teller = Teller(Store())
    teller.decided(_outcomes("c1"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await teller.close()
