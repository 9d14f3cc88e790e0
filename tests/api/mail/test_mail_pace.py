"""Nobody's mailbox is flooded through us."""

import asyncio

import pytest

from api.errors import ApiError
from api.mail.mail_pace import MAILS_MAX, WINDOW_S, MailPace
from api.rate_limits.exchange import RateExchanger
from api.rate_limits.limiter import RateLimiter
from eventstore.clock import system_clock
from eventstore.memory.store import MemoryStore


class Clock:
    """Monotonic seconds that pass when told to."""

    now = 1_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def exchanger(store: MemoryStore, clock: Clock) -> RateExchanger:
    """One process's."""
    return RateExchanger(RateLimiter(clock=clock), store)


async def refused(pace: MailPace, key: str) -> int | None:
    """The seconds to wait, if there are any."""
    try:
        await pace.admit(key)
    except ApiError as error:
        return int(error.headers["Retry-After"]) if (error.code, error.status) == ("mail_too_soon", 429) else -1
    return None


async def test_mails_to_one_address_are_few() -> None:
    """Refused ones do not count, others are not held up, and time lets it go on."""
    clock = Clock()
    pace = MailPace(exchanger(MemoryStore(1, system_clock), clock))
    for _ in range(MAILS_MAX):
        assert await refused(pace, "a") is None
        clock.now += 1
    wait: int | None = None
    for _ in range(3):
        wait = await refused(pace, "a")
        assert wait is not None
        assert WINDOW_S - MAILS_MAX <= wait <= WINDOW_S * 61 // 60
    assert await pace.admits("b")
    clock.now += wait or 0
    assert await refused(pace, "a") is None


@pytest.mark.parametrize("processes", [2, 3])
async def test_several_processes_are_one(processes: int) -> None:
    """They hear of each other's mails, so together they send as many as one would, and at most one more each."""
    clock, store = Clock(), MemoryStore(1, system_clock)
    exchangers = [exchanger(store, clock) for _ in range(processes)]
    for each in exchangers:
        await each.start()
    async with asyncio.timeout(10):
        while {each.limiter.processes for each in exchangers} != {processes}:
            await asyncio.sleep(0.01)
    paces = [MailPace(each) for each in exchangers]
    let_in = [await refused(paces[number % processes], "a") is None for number in range(10 * processes)]
    for each in exchangers:
        await each.stop()
    assert MAILS_MAX <= sum(let_in) < MAILS_MAX + processes
