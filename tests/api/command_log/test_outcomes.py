"""Waiting for outcomes."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from api.command_log.outcomes import OutcomePoller
from api.errors import ApiError
from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch, Outcome


class Store(MemoryStore):
    """The memory store, which can be away, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(4, lambda: 0)
        self.away = False
        self.asked: list[int] = []

    async def read_outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.LogStore`."""
        wanted = list(ids)
        self.asked.append(len(wanted))
        if self.away:
            raise Unavailable("away")
        return await super().read_outcomes(wanted)

    def commit(self, command_id: str, **fields: object) -> Outcome:
        """Writes an outcome as a round would."""
        outcome = Outcome(
            **{"shard": 1, "command_id": command_id, "status": "applied", "attempt": "a1", "stream": "user:1", "at": 1}
            | fields  # type: ignore[arg-type]  # checked by msgspec's users
        )
        self.apply(Batch(outcomes=[outcome]))
        return outcome


@pytest.fixture
def store() -> Store:
    """A store without outcomes."""
    return Store()


@pytest.fixture
async def poller(store: Store) -> AsyncIterator[OutcomePoller]:
    """A running poller with room for five."""
    made = OutcomePoller(store, waiters_max=5)
    await made.start()
    yield made
    await made.stop()


async def test_finds_an_outcome_that_is_there(store: Store, poller: OutcomePoller) -> None:
    """A repeat finds the outcome of the first try."""
    written = store.commit("c1")
    assert await poller.wait(1, "c1", "another attempt", 5.0) == written


async def test_finds_an_outcome_that_comes_later(store: Store, poller: OutcomePoller) -> None:
    """An outcome that is committed while it is awaited is found without any poke."""
    waiting = asyncio.create_task(poller.wait(1, "c1", "a1", 5.0))
    async with asyncio.timeout(5):
        while len(store.asked) < 3:
            await asyncio.sleep(0.001)
    written = store.commit("c1")
    assert await waiting == written


async def test_gives_up_in_time(poller: OutcomePoller) -> None:
    """Nothing within the deadline is `None`, and the place is free again."""
    assert await asyncio.gather(*[poller.wait(1, f"c{n}", "a1", 0.02) for n in range(5)]) == [None] * 5
    assert await poller.wait(1, "c1", "a1", 0.02) is None


async def test_waiters_are_bounded(poller: OutcomePoller) -> None:
    """One waiter too many is refused before its command is sent; one whose command was sent does not wait."""
    waiting = [asyncio.create_task(poller.wait(1, f"c{n}", "a1", 0.2)) for n in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as caught:
        poller.admit()
    assert await poller.wait(1, "c9", "a1", 60.0) is None
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    await asyncio.gather(*waiting)


async def test_asks_for_all_in_one_query(store: Store, poller: OutcomePoller) -> None:
    """Waiters share their queries."""
    waiting = [asyncio.create_task(poller.wait(1, f"c{n}", "a1", 5.0)) for n in range(5)]
    async with asyncio.timeout(5):
        while 5 not in store.asked:
            await asyncio.sleep(0.001)
    for number in range(5):
        store.commit(f"c{number}")
    assert all(await asyncio.gather(*waiting))


async def test_a_poke_hands_outcomes_over(store: Store, poller: OutcomePoller) -> None:
    """In one process with the worker nobody waits for the next read, and only the right waiters are served."""
    store.away = True
    waiting = asyncio.create_task(poller.wait(1, "c1", "a1", 5.0))
    other = asyncio.create_task(poller.wait(1, "c2", "a1", 5.0))
    await asyncio.sleep(0)
    written = store.commit("c1")
    poller.poke([written, store.commit("c3")])
    assert await waiting == written
    assert not other.done()
    poller.poke([store.commit("c2")])
    assert await other is not None


async def test_keeps_asking_a_store_that_is_away(store: Store, poller: OutcomePoller) -> None:
    """While the store is away a waiter waits on, and is served once it is back."""
    store.away = True
    waiting = asyncio.create_task(poller.wait(1, "c1", "a1", 5.0))
    async with asyncio.timeout(5):
        while not store.asked:
            await asyncio.sleep(0.001)
    store.commit("c1")
    store.away = False
    assert await waiting is not None


async def test_a_cured_refusal_is_no_answer_to_a_new_attempt(store: Store, poller: OutcomePoller) -> None:
    """The refusal of an earlier attempt does not end the wait of the next one."""
    store.commit("c1", status="rejected", curable=True, attempt="a1", fingerprint="f")
    assert await poller.wait(1, "c1", "a2", 0.05, fingerprint="f") is None
    assert await poller.wait(1, "c1", "a1", 5.0, fingerprint="f") is not None


async def test_another_request_under_the_id_ends_the_wait(store: Store, poller: OutcomePoller) -> None:
    """Whoever reuses a key is told at once, even where the outcome leaves the key free."""
    store.commit("c1", status="rejected", curable=True, attempt="a1", fingerprint="f")
    assert await poller.wait(1, "c1", "a2", 5.0, fingerprint="g") is not None


async def test_stopping_ends_every_wait(store: Store) -> None:
    """When the process stops nobody is left waiting."""
    poller = OutcomePoller(store)
    await poller.start()
    waiting = asyncio.create_task(poller.wait(1, "c1", "a1", 60.0))
    await asyncio.sleep(0)
    await poller.stop()
    assert await waiting is None
