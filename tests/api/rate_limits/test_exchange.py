"""The rhythm: what happens with the store there, away, slow and back; nobody ever waits for long."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from api.rate_limits.exchange import ASK_S, AWAY_S, HEARTBEAT_S, RateExchanger
from api.rate_limits.limiter import RateLimiter
from api.rate_limits.rules import Allowance, Rule, allowance
from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore
from eventstore.rates import MINUTE_S, RateDelta, RateExchange
from tests.eventstore.rows import now


class Store(MemoryStore):
    """A store that can be made to fail or to stand still."""

    def __init__(self) -> None:
        super().__init__(1, now)
        self.away = False
        self.hangs = False
        self.exchanges = 0

    async def exchange_rates(self, process: str, deltas: Sequence[RateDelta]) -> RateExchange:
        """See `rates.RateStore`."""
        if self.away:
            raise Unavailable("away")
        while self.hangs:
            await asyncio.sleep(0.005)
        self.exchanges += 1
        return await super().exchange_rates(process, deltas)


class Clock:
    """Monotonic seconds that run, and can be put ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time."""
        return asyncio.get_running_loop().time() + self.ahead


def minute(limit: int) -> Allowance:
    """One limit a minute."""
    return allowance([Rule(name="account-minute", subject="account a", window_s=MINUTE_S, limit=limit)])


@asynccontextmanager
async def exchanging(store: Store, clock: Clock, processes: int = 1) -> AsyncIterator[list[RateExchanger]]:
    """Processes that have heard of each other."""
    made = [RateExchanger(RateLimiter(clock=clock), store, clock=clock) for _ in range(processes)]
    for each in made:
        await each.start()
    try:
        await until(lambda: all(each.limiter.processes == processes for each in made))
        yield made
    finally:
        store.hangs = store.away = False
        for each in made:
            await each.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, with a bound."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_others_are_heard() -> None:
    """What one process admits, another knows within the rhythm, and refuses by it."""
    async with exchanging(Store(), Clock(), 2) as (one, other):
        for _ in range(10):
            assert (await one.admit(minute(10))).refused is None
        assert (await one.admit(minute(10))).refused is not None
        verdicts = [await other.admit(minute(10)) for _ in range(5)]
        assert sum(verdict.refused is None for verdict in verdicts) <= 2
        await until(lambda: other.limiter.take(minute(10), final=True).refused is not None)


async def test_an_idle_process_is_quiet() -> None:
    """Nothing to tell and nothing to ask costs one statement a second, not ten."""
    store = Store()
    async with exchanging(store, Clock()):
        loop, before = asyncio.get_running_loop(), store.exchanges
        await until(lambda: store.exchanges > before)
        begun_at, before = loop.time(), store.exchanges
        await until(lambda: store.exchanges > before)
        assert loop.time() - begun_at > HEARTBEAT_S / 2


async def test_a_store_that_hangs_holds_nobody_up() -> None:
    """Each decision ends within its bound; while an exchange stands still they do not wait at all."""
    store = Store()
    async with exchanging(store, Clock(), 2) as (one, _):
        store.hangs = True
        loop = asyncio.get_running_loop()
        one.limiter.take(minute(1_000))
        begun = loop.time()
        verdicts = [await one.admit(minute(1_000)) for _ in range(700)]
        assert 499 <= sum(verdict.refused is None for verdict in verdicts) <= 500
        assert loop.time() - begun < 100 * ASK_S, "a few waited for one bound, and hundreds for none"


async def test_a_store_that_is_away_divides_the_limits() -> None:
    """After a while without an answer each process keeps to its part and says so; with the store back it shares."""
    store, clock = Store(), Clock()
    async with exchanging(store, clock, 2) as (one, _):
        assert one.problem() is None
        store.away = True
        clock.ahead += AWAY_S
        await until(lambda: one.limiter.alone)
        assert one.problem() == "counts cannot be shared: each limit is divided by 2 API processes"
        assert sum([(await one.admit(minute(10))).refused is None for _ in range(10)]) == 5
        store.away = False
        await until(lambda: not one.limiter.alone)
        assert one.problem() is None
        assert (await one.admit(minute(10))).refused is None


async def test_the_last_counts_are_told_at_the_end() -> None:
    """A process that is stopped takes no count with it."""
    store = Store()
    async with exchanging(store, Clock()) as (one,):
        for _ in range(3):
            await one.admit(minute(10))
    exchange = await store.exchange_rates("other", [RateDelta(subject="account a", window_s=MINUTE_S)])
    assert sum(each.now.admitted + each.before.admitted for each in exchange.totals) == 3
