"""Failed attempts that processes share: counted one after the other, in memory and in Postgres alike."""

import asyncio

from domain.instant import HOUR, SECOND
from eventstore.attempts import Allowance
from eventstore.memory.store import MemoryStore
from eventstore.postgres.store import PostgresStore
from eventstore.store import Store
from tests.eventstore.rows import now

HALF_FREE = Allowance(free=3, first_s=600, longest_s=900)


async def moved(store: Store, by: int) -> None:
    """Lets what was counted lie further in the past, or in the future as when the clock was put back."""
    if isinstance(store, PostgresStore):
        await store.pool.fetch("UPDATE attempts SET last_at = last_at - $1", by)
    else:
        assert isinstance(store, MemoryStore)
        store._attempts = {key: (count, at - by) for key, (count, at) in store._attempts.items()}


async def test_failures_are_free_then_wait_ever_longer(store: Store) -> None:
    """A refused attempt is not counted; the wait is told; another subject has its own count."""
    for failures in (1, 2, 3):
        found = await store.count_attempt("a", HALF_FREE)
        assert (found.failures, found.wait) == (failures, 0)
    for _ in range(3):
        found = await store.count_attempt("a", HALF_FREE)
        assert found.failures == 3
        assert 590 * SECOND < found.wait <= 600 * SECOND
    assert (await store.count_attempt("b", HALF_FREE)).failures == 1
    await moved(store, 600 * SECOND)
    assert (await store.count_attempt("a", HALF_FREE)).failures == 4
    assert 890 * SECOND < (await store.count_attempt("a", HALF_FREE)).wait <= 900 * SECOND


async def test_many_at_once_are_many(store: Store) -> None:
    """Whoever asks at the same time, also about a subject that nobody has seen before."""
    found = await asyncio.gather(*[store.count_attempt("a", HALF_FREE) for _ in range(30)])
    assert sorted(each.failures for each in found if not each.wait) == [1, 2, 3]
    assert all(each.wait > 0 for each in found if each.wait)


async def test_taken_back_and_forgotten(store: Store) -> None:
    """One less, or none at all; of a subject that is not there nothing happens."""
    for subject in ("a", "b"):
        await store.take_back_attempt(subject)
        await store.forget_attempts(subject)
    for _ in range(3):
        await store.count_attempt("a", HALF_FREE)
    await store.take_back_attempt("a")
    assert (await store.count_attempt("a", HALF_FREE)).failures == 3
    await store.forget_attempts("a")
    assert (await store.count_attempt("a", HALF_FREE)).failures == 1
    await store.take_back_attempt("a")
    assert (await store.count_attempt("a", HALF_FREE)).failures == 1


async def test_time_forgets(store: Store) -> None:
    """After an hour; a purge deletes what is forgotten and nothing else."""
    for _ in range(4):
        await store.count_attempt("a", HALF_FREE)
    await moved(store, HOUR)
    await store.count_attempt("b", HALF_FREE)
    assert await store.purge(now()) == 1
    assert await store.purge(now()) == 0
    assert (await store.count_attempt("b", HALF_FREE)).failures == 2
    for _ in range(4):
        await store.count_attempt("a", HALF_FREE)
    await moved(store, HOUR)
    assert (await store.count_attempt("a", HALF_FREE)).failures == 1


async def test_a_clock_that_was_put_back_keeps_nobody_waiting(store: Store) -> None:
    """What lies in the future was counted before that: it counts, and is waited for by nobody."""
    for _ in range(4):
        await store.count_attempt("a", HALF_FREE)
    await moved(store, -HOUR)
    assert (await store.count_attempt("a", HALF_FREE)).failures == 4
    assert (await store.count_attempt("a", HALF_FREE)).wait > 0
