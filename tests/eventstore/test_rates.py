"""Counts that API processes share: what one adds, every other reads, in memory and in Postgres alike."""

import asyncio

from domain.instant import DAY, MINUTE, SECOND
from eventstore.memory.store import MemoryStore
from eventstore.postgres.store import PostgresStore
from eventstore.rates import DAY_S, MINUTE_S, RateDelta, RateExchange, RateMinute
from eventstore.store import Store
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import now

T0 = 1_800_000_000 * SECOND


class Clock:
    """A store's clock that goes where a test puts it."""

    def __init__(self) -> None:
        self.at = T0

    def __call__(self) -> int:
        """The time."""
        return self.at


def delta(subject: str, admitted: int = 0, *, refused: int = 0, window_s: int = DAY_S) -> RateDelta:
    """A count of the day, which ends during no test (and if it does, its cell is the one before)."""
    return RateDelta(subject=subject, window_s=window_s, admitted=admitted, refused=refused)


def seen(exchange: RateExchange) -> dict[str, int]:
    """Totals by subject, over the cell and the one before it."""
    return {total.subject: total.now.admitted + total.before.admitted for total in exchange.totals}


async def test_counts_of_all_processes_are_one_total(store: Store) -> None:
    """Each sees what the others added, and zeros only ask."""
    assert seen(await store.exchange_rates("a", [delta("x", 3), delta("y", 1)])) == {"x": 3, "y": 1}
    assert seen(await store.exchange_rates("b", [delta("x", 4), delta("z")])) == {"x": 7, "z": 0}
    assert seen(await store.exchange_rates("a", [delta("x"), delta("y", refused=1)])) == {"x": 7, "y": 1}


async def test_windows_are_apart(store: Store) -> None:
    """A minute and a day of one subject are two counts, told apart in the answer."""
    both = [delta("x", 2, window_s=MINUTE_S), delta("x", 5)]
    totals = (await store.exchange_rates("a", both)).totals
    assert {(each.window_s, each.now.admitted) for each in totals} == {(MINUTE_S, 2), (DAY_S, 5)}


async def test_processes_are_counted(store: Store) -> None:
    """Whoever exchanges is announced by that, also with nothing to tell."""
    assert (await store.exchange_rates("a", [])).processes == 1
    assert (await store.exchange_rates("b", [])).processes == 2
    exchange = await store.exchange_rates("a", [])
    assert (exchange.processes, exchange.totals) == (2, [])
    assert abs(exchange.at - now()) < MINUTE


async def test_many_at_once_lose_nothing(store: Store) -> None:
    """Processes that add to the same rows at the same moment wait for each other, and never for ever."""
    subjects = [f"s{number}" for number in range(50)]

    async def tell(process: str) -> None:
        for turn in range(10):
            order = subjects if turn % 2 else subjects[::-1]
            await store.exchange_rates(process, [delta(subject, 1) for subject in order])

    await asyncio.gather(*(tell(f"p{number}") for number in range(4)))
    totals = seen(await store.exchange_rates("p0", [delta(subject) for subject in subjects]))
    assert totals == dict.fromkeys(subjects, 40)


async def test_a_young_minute_is_not_reported_yet(store: Store) -> None:
    """A minute under way may still grow, whosever it is."""
    used = RateDelta(subject="key", window_s=MINUTE_S, admitted=1, reported=True)
    await store.exchange_rates("a", [used])
    found = await store.ended_minutes(["key"], 10)
    assert all(each.minute + MINUTE <= now() for each in found)


async def test_minutes_are_reported_once_they_are_over() -> None:
    """By those who took part in them when they are settled, by anybody when nobody did; then no more."""
    clock = Clock()
    store = MemoryStore(SHARDS, clock)
    used = RateDelta(subject="key", window_s=MINUTE_S, admitted=2, refused=1, reported=True)
    await store.exchange_rates("a", [used, delta("account", 2, window_s=MINUTE_S)])
    clock.at = T0 + MINUTE + SECOND
    assert await store.ended_minutes(["key", "account"], 10) == []
    clock.at = T0 + MINUTE + 3 * SECOND
    minute = RateMinute(subject="key", minute=T0, admitted=2, refused=1, last_at=T0)
    assert await store.ended_minutes(["key", "account"], 10) == [minute]
    assert await store.ended_minutes([], 10) == []
    clock.at = T0 + MINUTE + 31 * SECOND
    assert await store.ended_minutes([], 10) == [minute]
    await store.minutes_reported([minute])
    assert await store.ended_minutes(["key"], 10) == []


async def test_old_minutes_of_postgres_are_reported_too(postgres: PostgresStore) -> None:
    """The same, where the clock cannot be set: with rows that are old already."""
    at = now()
    old = at // MINUTE - 10
    rows = [("key", MINUTE_S, old, True), ("account", MINUTE_S, old, False), ("day", DAY_S, at // DAY - 1, True)]
    await postgres.pool.fetch(
        "INSERT INTO rate_cells SELECT s, w, c, (c + 1) * w * 1000000, 5, 1, 0, $5, u"
        " FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bool[]) AS t(s, w, c, u)",
        *map(list, zip(*rows, strict=True)),
        at,
    )
    minute = RateMinute(subject="key", minute=old * MINUTE, admitted=5, refused=1, last_at=at)
    assert await postgres.ended_minutes([], 10) == [minute]
    grown = RateMinute(subject="key", minute=old * MINUTE, admitted=4, refused=1, last_at=at)
    await postgres.minutes_reported([grown])
    assert await postgres.ended_minutes(["key"], 10) == [minute]
    await postgres.minutes_reported([minute])
    assert await postgres.ended_minutes(["key"], 10) == []


async def test_old_cells_are_purged(store: Store) -> None:
    """What no window reaches back to goes; what is under way stays, and what was never reported stays a day longer."""
    used = RateDelta(subject="key", window_s=MINUTE_S, admitted=1, reported=True)
    await store.exchange_rates("a", [delta("x", 1), delta("y", 1, window_s=MINUTE_S), used])
    at = now()
    assert await store.purge(at + MINUTE) == 0
    assert await store.purge(at + 5 * MINUTE) == 1
    assert seen(await store.exchange_rates("a", [delta("x")])) == {"x": 1}
    assert await store.purge(at + 5 * DAY) >= 2
    assert seen(await store.exchange_rates("a", [delta("x")])) == {"x": 0}
