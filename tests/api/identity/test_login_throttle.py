"""Throttling of logins: guessers wait longer and longer, others do not."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.identity.login_throttle import AWAY_S, LoginThrottle, network_of
from domain.instant import SECOND
from eventstore.attempts import Allowance, Attempts
from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore

HERE, THERE = "198.51.100.7", "203.0.113.9"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Away(MemoryStore):
    """A store that cannot be reached while `away`."""

    away = True
    asked = 0

    async def count_attempt(self, subject: str, allowance: Allowance) -> Attempts:
        """See `AttemptStore`."""
        self.asked += 1
        if self.away:
            raise Unavailable
        return await super().count_attempt(subject, allowance)


class World:
    """Throttles of several processes, which share a store, and one clock of all."""

    def __init__(self, *, processes: int = 1, away: bool = False, **options: Any) -> None:
        self.clock = Clock()
        self.store = Away(1, lambda: int((1_000_000 + self.clock.now) * SECOND))
        self.store.away = away
        self.throttles = [
            LoginThrottle(self.store, lambda text: f"digest {text}", clock=self.clock, **options)
            for _ in range(processes)
        ]

    async def waits(self, email: str, address: str, process: int = 0) -> int | None:
        """The seconds of `Retry-After`, or `None` when let in."""
        try:
            await self.throttles[process].enter(email, address)
        except ApiError as error:
            return int(error.headers["Retry-After"]) if (error.code, error.status) == ("too_many_attempts", 429) else -1
        return None


everywhere = pytest.mark.parametrize("away", [False, True], ids=["shared", "alone"])
"""The same holds while the store is away, in each process."""


@everywhere
async def test_waits_double(away: bool) -> None:
    """After five failures the next waits a second, then two, then four, up to a quarter of an hour."""
    world = World(away=away)
    for _ in range(5):
        assert await world.waits("ada", HERE) is None
    seen = []
    for _ in range(12):
        wait = await world.waits("ada", HERE)
        assert wait is not None
        seen.append(wait)
        world.clock.now += wait
        assert await world.waits("ada", HERE) is None
    assert seen == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


@everywhere
async def test_nobody_is_locked_out_elsewhere(away: bool) -> None:
    """However often a guesser fails from one address, the user logs in from another."""
    world = World(away=away)
    while await world.waits("ada", HERE) is None:
        pass
    assert await world.waits("ada", THERE) is None


@everywhere
async def test_being_refused_makes_nobody_wait_longer(away: bool) -> None:
    """Who shares a guesser's address gets in when the wait is over, however often it asked meanwhile."""
    world = World(away=away)
    while await world.waits("ada", HERE) is None:
        pass
    for _ in range(100):
        assert await world.waits("ada", HERE) == 1
    world.clock.now += 1
    assert await world.waits("ada", HERE) is None


@everywhere
async def test_success_clears_the_pair(away: bool) -> None:
    """Who gets in after some failures starts from nothing, on every process while they share."""
    world = World(away=away, processes=2)
    [here, _] = world.throttles
    for _ in range(4):
        await here.enter("ada", HERE)
    await here.succeeded(await here.enter("ada", HERE))
    for number in range(5):
        assert await world.waits("ada", HERE, number % 2) is None


@everywhere
async def test_own_success_does_not_clear_the_address(away: bool) -> None:
    """A guesser cannot clean the address's slate by logging in to an account of its own."""
    world = World(away=away, address=Allowance(free=10, first_s=60, longest_s=60))
    [throttle] = world.throttles
    for number in range(10):
        await throttle.enter(f"user {number}", HERE)
        if number < 9:
            await throttle.succeeded(await throttle.enter("mine", HERE))
    assert await world.waits("user 11", HERE) == 60


@pytest.mark.parametrize("processes", [1, 2, 5])
async def test_parallel_attempts_all_count(processes: int) -> None:
    """Attempts that are under way count: a hundred at once are not one, and several processes are not several."""
    world = World(processes=processes)
    waits = await asyncio.gather(*[world.waits("ada", HERE, number % processes) for number in range(100)])
    assert waits.count(None) == 5


async def test_a_process_alone_goes_on_with_what_it_heard() -> None:
    """What was counted by all of them still counts in each when the store goes away."""
    world = World(processes=2)
    for number in range(5):
        assert await world.waits("ada", HERE, number % 2) is None
    assert await world.waits("ada", HERE, 0) == await world.waits("ada", HERE, 1) == 1
    world.store.away = True
    assert await world.waits("ada", HERE, 0) == await world.waits("ada", HERE, 1) == 1


async def test_a_store_that_is_away_is_not_asked_all_the_time() -> None:
    """Nor waited for again and again; once it is back it counts for all."""
    world = World(away=True)
    for number in range(10):
        await world.waits(f"user {number}", HERE)
    assert world.store.asked == 1
    world.store.away = False
    world.clock.now += AWAY_S
    await world.waits("ada", HERE)
    assert world.store.asked == 3


async def test_nobody_waits_for_a_slow_store() -> None:
    """An attempt that the store does not answer in time is decided here."""

    class Slow(MemoryStore):
        async def count_attempt(self, subject: str, allowance: Allowance) -> Attempts:
            await asyncio.Event().wait()
            return await super().count_attempt(subject, allowance)

    throttle = LoginThrottle(Slow(1, lambda: 0), str, ask_s=0.01)
    async with asyncio.timeout(10):
        for _ in range(5):
            await throttle.enter("ada", HERE)
        with pytest.raises(ApiError):
            await throttle.enter("ada", HERE)


@everywhere
async def test_withdrawn_attempts_do_not_count(away: bool) -> None:
    """An attempt whose password was never looked at leaves no trace."""
    world = World(away=away)
    [throttle] = world.throttles
    for _ in range(100):
        await throttle.withdrawn(await throttle.enter("ada", HERE))
    assert await world.waits("ada", HERE) is None


@everywhere
async def test_forgotten_after_an_hour(away: bool) -> None:
    """Failures of long ago do not count."""
    world = World(away=away)
    while await world.waits("ada", HERE) is None:
        pass
    world.clock.now += 3600
    assert await world.waits("ada", HERE) is None


@given(st.lists(st.tuples(st.text(max_size=3), st.ip_addresses().map(str)), max_size=60), st.booleans())
async def test_memory_is_bounded(attempts: list[tuple[str, str]], away: bool) -> None:
    """Whoever comes from wherever, no more than the bound is remembered."""
    world = World(away=away, remembered_max=5)
    for email, address in attempts:
        await world.waits(email, address)
    assert len(world.throttles[0]._pairs) <= 5
    assert len(world.throttles[0]._networks) <= 5


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
    ],
)
def test_addresses_are_counted_by_network(address: str, network: str) -> None:
    """An IPv6 household is one guesser, and IPv4 has one form."""
    assert network_of(address) == network
