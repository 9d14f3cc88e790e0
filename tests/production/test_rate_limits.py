"""Two API processes with limits on, on one real PostgreSQL: together they let no more pass than the stated bound."""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import asyncpg
import pytest
from msgspec import Struct

from devnet.scratch import free_port
from devnet.seed import wait_until_ready
from tests.crash.api.shop import Caller, Shop
from tests.crash.deployment import Process

CLIENTS = 64
SPAN_S = 4.0
"""Far less than a minute: what is admitted in it lies in one window."""
PROCESSES = 4
"""The two of the shop, which have limits off, count too: they share the store."""
ANSWER_S = 10.0


class Limited(Struct, frozen=True, kw_only=True):
    """Two processes with limits on."""

    urls: Sequence[str]
    processes: Sequence[Process]


@pytest.fixture(scope="module")
def started(shop: Shop) -> Iterator[Limited]:
    """Two processes more, whose addresses may ask as often as they like."""
    ports = [free_port(), free_port()]
    extra = {"FORMSTATE_LIMITS": "on", "FORMSTATE_ANONYMOUS_REQUESTS_PER_MINUTE": "100000"}
    processes = [shop.deployment.start("api", "api", FORMSTATE_PORT=str(port), **extra) for port in ports]
    yield Limited(urls=[f"http://127.0.0.1:{port}" for port in ports], processes=processes)
    for process in processes:
        if process.alive:
            process.stop()


@pytest.fixture
async def limited(started: Limited) -> Limited:
    """The two, ready."""
    for url in started.urls:
        await wait_until_ready(url)
    return started


def bound(limit: int) -> int:
    """What `docs/performance.md` states."""
    return limit + (PROCESSES - 1) * math.ceil(limit / (4 * PROCESSES))


async def user(caller: Caller, plan: str) -> str:
    """The token of a new user on a plan."""
    registered = await caller.register()
    news = {
        "account_id": registered["account_id"],
        "plan": plan,
        "status": "active",
        "occurred_at": "2026-01-01T00:00:00Z",
        "reference": "r",
    }
    answer = await caller.ask("PUT", "/billing/subscription", news, token=caller.shop.admin_token)
    assert answer.status == 200, answer
    return str(registered["token"])


async def asked(caller: Caller, url: str, token: str) -> int:
    """One request; the status of its answer, which must come."""
    async with asyncio.timeout(ANSWER_S):
        answer = await caller.ask("GET", "/users/me", url=url, token=token)
    assert "x-ratelimit-remaining" in answer.headers
    assert (answer.status == 429) == ("retry-after" in answer.headers)
    return answer.status


@pytest.mark.parametrize(("plan", "limit"), [("free", 10), ("pro", 60)])
async def test_a_burst_on_two_processes(limited: Limited, caller: Caller, plan: str, limit: int) -> None:
    """Sixty-four at the same moment, half of them on each process, of somebody whom neither has seen before."""
    token, urls = await user(caller, plan), itertools.cycle(limited.urls)
    answers = Counter(await asyncio.gather(*(asked(caller, next(urls), token) for _ in range(2 * CLIENTS))))
    assert set(answers) == {200, 429}
    assert limit // PROCESSES <= answers[200] <= bound(limit)


async def test_hammering_two_processes(limited: Limited, caller: Caller) -> None:
    """Sixty-four clients that ask again as soon as they are answered, for seconds: one budget, not one for each."""
    token, until = await user(caller, "pro"), time.monotonic() + SPAN_S

    async def client(number: int) -> Counter[int]:
        answers: Counter[int] = Counter()
        while time.monotonic() < until:
            answers[await asked(caller, limited.urls[number % 2], token)] += 1
        return answers

    answers = sum(await asyncio.gather(*(client(number) for number in range(CLIENTS))), Counter())
    assert set(answers) == {200, 429}
    assert 60 // PROCESSES <= answers[200] <= bound(60)


async def test_counts_that_nobody_can_reach(limited: Limited, caller: Caller, shop: Shop) -> None:
    """While the table of counts is locked, all answers come, and each process keeps to its part of the limit."""
    token = await user(caller, "pro")
    assert await asked(caller, limited.urls[0], token) == 200
    connection = await asyncpg.connect(shop.deployment.database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE rate_cells IN ACCESS EXCLUSIVE MODE")
            urls = itertools.cycle(limited.urls)
            answers = Counter(await asyncio.gather(*(asked(caller, next(urls), token) for _ in range(4 * CLIENTS))))
    finally:
        await connection.close()
    assert set(answers) == {200, 429}
    assert answers[200] <= bound(60)


async def test_processes_that_are_gone_leave_their_counts(limited: Limited, caller: Caller) -> None:
    """What a killed process had told counts on; who is served by the other one does not begin anew."""
    token = await user(caller, "free")
    assert await asked(caller, limited.urls[0], token) == 200
    while await asked(caller, limited.urls[0], token) == 200:
        pass

    async def refused() -> bool:
        return await asked(caller, limited.urls[1], token) == 429

    assert await refused() or await refused() or await refused()
    limited.processes[0].kill()
    assert await refused()
