"""Many processes over one store, in a time that the test makes: how much they admit together, and what never."""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.plans import load_plans
from api.rate_limits.limiter import RateLimiter
from api.rate_limits.rules import Allowance, Rule, address_allowance, allowance, caller_allowance
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.instant import HOUR, SECOND
from eventstore.memory.store import MemoryStore
from eventstore.rates import DAY_S, MINUTE_S
from tests.api.rate_limits.test_window import busiest

EPOCH = 1_800_000_000


class World:
    """Processes, their store, and the one time. `stored_ahead` is what the store's clock is ahead by."""

    def __init__(self, processes: int) -> None:
        self.now_s = 1_000.0
        self.stored_ahead = 0
        self.store = MemoryStore(1, lambda: EPOCH * SECOND + int(self.now_s * SECOND) + self.stored_ahead)
        self.limiters = [RateLimiter(clock=lambda: self.now_s) for _ in range(processes)]
        self.admitted: list[float] = []
        self.away = False
        self.poked: set[int] = set()
        for number, limiter in enumerate(self.limiters):
            limiter.poke = partial(self.poked.add, number)

    async def exchange(self, number: int) -> None:
        """What `RateExchanger` does in its rhythm."""
        limiter = self.limiters[number]
        deltas = limiter.tell(1_000)
        if self.away:
            limiter.untold(deltas)
            limiter.alone = True
            return
        limiter.learn(deltas, await self.store.exchange_rates(f"p{number}", deltas))
        limiter.alone = False

    async def meet(self) -> None:
        """Every process hears of every other, as within the first second of its life."""
        for number in [*range(len(self.limiters))] * 2:
            await self.exchange(number)

    async def ask(self, number: int, asked: Allowance) -> bool:
        """One request, as `RateExchanger.admit` decides it."""
        limiter = self.limiters[number]
        verdict = limiter.take(asked)
        for _ in range(8):
            if not verdict.unsure:
                break
            await self.exchange(number)
            verdict = limiter.take(asked)
        if verdict.unsure:
            verdict = limiter.take(asked, final=True)
        if verdict.refused is None:
            self.admitted.append(self.now_s)
        return verdict.refused is None


def minute(limit: int) -> Allowance:
    """One limit a minute."""
    return allowance([Rule(name="account-minute", subject="account a", window_s=MINUTE_S, limit=limit)])


async def run(world: World, asked: Allowance, seconds: float, arrivals: Callable[[int], int]) -> None:
    """Every process asks as `arrivals(step)` says, in steps of 50 ms, and exchanges in every second one."""
    await world.meet()
    for step in range(int(seconds / 0.05)):
        for number in range(len(world.limiters)):
            for _ in range(arrivals(step)):
                await world.ask(number, asked)
            if (step + number) % 2 or number in world.poked:
                world.poked.discard(number)
                await world.exchange(number)
        world.now_s += 0.05


def bound(limit: int, processes: int) -> int:
    """The overshoot that is stated in `limiter.py`, with the limit."""
    return limit + (processes - 1) * math.ceil(limit / (4 * processes))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 40))
def test_together_within_the_bound(seed: int, processes: int, limit: int) -> None:
    """Steady, in bursts, or anything between: no span of a minute sees more than the bound."""
    random, world = Random(seed), World(processes)
    burst = random.choice((1, 3, 20))

    def arrivals(step: int) -> int:
        return 1 if step % 10 == 0 else random.randrange(burst) if random.random() < 0.1 else 0

    asyncio.run(run(world, minute(limit), 130, arrivals))
    assert busiest(world.admitted, MINUTE_S) <= bound(limit, processes)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_hammering_gets_the_limit_and_no_more(processes: int) -> None:
    """Minute after minute, however many hammer on however many processes: the budget is one, not one for each."""
    world = World(processes)
    asyncio.run(run(world, minute(30), 305, lambda _step: 8))
    assert busiest(world.admitted, MINUTE_S) <= bound(30, processes)
    assert 30 * 4 <= len(world.admitted) <= 5 * bound(30, processes)


async def test_one_process_of_many_serves_the_whole_limit() -> None:
    """Whose requests all come to one process is not refused a part of what it has paid for."""
    world = World(3)
    await world.meet()
    assert [await world.ask(0, minute(20)) for _ in range(21)] == [True] * 20 + [False]


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 400 * 24 * HOUR, -400 * 24 * HOUR, SECOND, -SECOND])
def test_steps_of_the_stores_clock_do_no_harm(jump: int) -> None:
    """A clock that is put forward gives nobody a new minute, and one that is put back locks nobody out."""
    world = World(2)

    async def story() -> None:
        await run(world, minute(10), 5, lambda _step: 1)
        assert len(world.admitted) <= 11
        world.stored_ahead += jump
        await run(world, minute(10), 50, lambda _step: 1)
        assert len(world.admitted) <= 11
        await run(world, minute(10), 20, lambda _step: 1)
        assert len(world.admitted) >= 18

    asyncio.run(story())


def test_alone_each_keeps_to_its_part() -> None:
    """With the store away the processes divide the limit, and once it is back they share it again."""
    world = World(2)

    async def story() -> None:
        await run(world, minute(10), 1, lambda _step: 0)
        world.away = True
        await run(world, minute(10), 58, lambda _step: 1)
        assert len(world.admitted) == 10
        assert {limiter.alone for limiter in world.limiters} == {True}
        world.away = False
        await run(world, minute(10), 130, lambda _step: 1)

    asyncio.run(story())
    assert busiest(world.admitted, MINUTE_S) <= bound(10, 2)
    assert len(world.admitted) >= 25


async def test_a_process_that_starts_learns_what_others_counted() -> None:
    """A new process, or one that has not heard of somebody for long, does not begin with an empty window."""
    world = World(2)
    for _ in range(10):
        await world.ask(0, minute(10))
    await world.exchange(0)
    world.limiters[1] = RateLimiter(clock=lambda: world.now_s)
    await world.exchange(1)
    assert await world.ask(1, minute(10)), "its share, before it has heard anything"
    await world.exchange(1)
    assert not await world.ask(1, minute(10))


async def test_a_refusal_takes_nothing() -> None:
    """Of two limits one refuses: the other has as much left as before, and says so."""
    rules = [
        Rule(name="account-minute", subject="account a", window_s=MINUTE_S, limit=5),
        Rule(name="key-minute", subject="key a k", window_s=MINUTE_S, limit=2, reported=True),
    ]
    limiter, both = RateLimiter(clock=lambda: 50.0), allowance(rules)
    assert [limiter.take(both).refused is None for _ in range(4)] == [True, True, False, False]
    verdict = limiter.take(both)
    assert verdict.refused is not None
    assert (verdict.refused.rule.name, verdict.refused.limit) == ("key-minute", 2)
    assert [(state.rule.name, state.remaining) for state in verdict.states] == [
        ("account-minute", 3),
        ("key-minute", 0),
    ]
    told = {delta.subject: (delta.admitted, delta.refused) for delta in limiter.tell(10)}
    assert told == {"account a": (2, 0), "key a k": (2, 3)}


async def test_what_could_not_be_told_is_told_later() -> None:
    """A failed exchange loses no count; but what no window counts any more is not told after an outage."""
    world = World(1)
    limiter, asked = world.limiters[0], minute(100)
    for _ in range(7):
        limiter.take(asked)
    limiter.untold(limiter.tell(10))
    assert [delta.admitted for delta in limiter.tell(10)] == [7]
    limiter.take(asked)
    limiter.untold(limiter.tell(10))
    world.now_s += 100
    assert [delta.admitted for delta in limiter.tell(10)] == [0]


async def test_windows_are_bounded() -> None:
    """A million subjects take no more room than the bound, and what is dropped was told."""
    limiter = RateLimiter(clock=lambda: 50.0, entries_max=100)
    told = 0
    for number in range(1_000):
        limiter.take(address_allowance(f"{number}", 10))
        if number % 50 == 49:
            told += sum(delta.admitted for delta in limiter.tell(1_000))
    assert len(limiter) <= 150
    assert told == 1_000


def test_the_rules_of_a_caller() -> None:
    """The plan's limits, the key's own, and the key's minute in any case; without limits only that one, uncounted."""
    plans = load_plans()
    names = {
        plan.id: [rule.name for rule in caller_allowance("a", plan, "k", NO_LIMITS, enforced=True).rules]
        for plan in plans.values()
    }
    assert names["free"] == ["account-minute", "account-day", "key-minute"]
    assert names["enterprise"] == ["account-minute", "key-minute"]
    own = caller_allowance("a", plans.free, "k", KeyLimits(requests_per_minute=3, requests_per_day=9), enforced=True)
    assert own.policy == (
        b'"account-minute";q=10;w=60, "account-day";q=100;w=86400, "key-minute";q=3;w=60, "key-day";q=9;w=86400'
    )
    free = caller_allowance("a", plans.free, "k", NO_LIMITS, enforced=False)
    assert ([rule.limit for rule in free.rules], free.policy) == ([None], b"")
    assert caller_allowance("a", plans.free, None, NO_LIMITS, enforced=False).rules == ()


def test_a_day_is_a_window_like_a_minute() -> None:
    """The day's limit holds for any 24 hours, not from midnight on."""
    world = World(1)
    day = allowance([Rule(name="account-day", subject="account a", window_s=DAY_S, limit=3)])

    async def story() -> None:
        assert [await world.ask(0, day) for _ in range(4)] == [True, True, True, False]
        for hours, expected in ((20, False), (3.9, False), (0.6, True)):
            world.now_s += hours * 3600
            await world.exchange(0)
            assert await world.ask(0, day) is expected

    asyncio.run(story())


@given(st.lists(st.floats(0, 90), max_size=12), st.integers(0, 4), st.integers(0, 6), st.booleans())
def test_what_is_used_up_is_what_would_refuse(pauses: list[float], a_minute: int, a_day: int, alone: bool) -> None:
    """Asked without counting, it is the limit that the next request is refused for, as `peek` shows it."""
    world = World(1)
    limiter = world.limiters[0]
    limiter.alone, limiter.processes = alone, 2 if alone else 1
    asked = allowance(
        [
            Rule(name="account-minute", subject="account a", window_s=MINUTE_S, limit=a_minute),
            Rule(name="key-minute", subject="key k", window_s=MINUTE_S, limit=None, reported=True),
            Rule(name="account-day", subject="account a", window_s=DAY_S, limit=a_day),
        ]
    )
    for pause_s in pauses:
        world.now_s += pause_s
        shown = next((each for each in limiter.peek(asked) if not each.remaining), None)
        used_up = limiter.used_up(asked)
        assert used_up == shown
        refused = limiter.take(asked).refused
        assert (used_up and used_up.rule) == (refused and refused.rule)
