"""Fifty clients on two API processes, on real Kafka and PostgreSQL: exactly the plan's messages reach the provider."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from bench.deployment import PLANS
from devnet.scratch import free_port
from devnet.seed import wait_until_ready
from tests.crash.api.shop import Caller, Shop

CLIENTS, EACH = 50, 3
QUOTA = 100
"""A day, of `free`; its rates are out of reach in this file of plans."""


@pytest.fixture(scope="module")
def urls(shop: Shop) -> Iterator[list[str]]:
    """Two processes more, with limits on."""
    ports = [free_port(), free_port()]
    extra = {"FORMSTATE_LIMITS": "on", "FORMSTATE_PLANS_FILE": str(PLANS)}
    processes = [shop.deployment.start("api", "api", FORMSTATE_PORT=str(port), **extra) for port in ports]
    yield [f"http://127.0.0.1:{port}" for port in ports]
    for process in processes:
        if process.alive:
            process.stop()


async def test_exactly_the_quota(urls: list[str], caller: Caller) -> None:
    """Not one more, not one less; nothing stays held, and what is shown is what was counted."""
    for url in urls:
        await wait_until_ready(url)
    person = await caller.customer("5")
    before = (await caller.provider())["started"]

    async def client(number: int) -> Counter[int]:
        answers = [
            await caller.chat(person, f"Question {number}.", url=urls[number % 2], max_tokens=2) for _ in range(EACH)
        ]
        return Counter(answer.status for answer in answers)

    answers = sum(await asyncio.gather(*(client(number) for number in range(CLIENTS))), Counter())
    assert answers == {200: QUOTA, 429: CLIENTS * EACH - QUOTA}
    assert (await caller.provider())["started"] - before == QUOTA
    shown = await caller.ask("GET", "/billing/features", url=urls[0], token=person.token)
    assert shown.json["messages_per_day"]["used"] == QUOTA
    assert (await caller.balance(person))["held"] == "0.000000"
