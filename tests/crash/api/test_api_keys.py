"""API keys on the real topology: limits that the account's writer decides, and secrets that end on every process."""

import asyncio
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.crash.api.shop import Answer, Caller, Person
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

KEYS_MAX = 25
"""Of the free plan."""
LIMIT = Decimal("0.001000")
REVOKED_S = 1.0


async def _made(caller: Caller, person: Person, **fields: Any) -> dict[str, Any]:
    """A new key of the person."""
    answer = await caller.ask("POST", "/api-keys", {"name": "k"} | fields, token=person.token)
    assert answer.status == 201, answer
    caller.shop.secrets.add(answer.json["key"])
    made: dict[str, Any] = answer.json
    return made


async def test_fifty_keys_at_once_are_exactly_as_many_as_the_plan_has(caller: Caller) -> None:
    """Through two API processes."""
    person = await caller.customer("1.000000")  # with one key
    urls = caller.shop.urls

    async def create(number: int) -> Answer:
        return await caller.ask("POST", "/api-keys", {"name": "k"}, url=urls[number % 2], token=person.token)

    answers = await asyncio.gather(*(create(number) for number in range(50)))
    caller.shop.secrets |= {answer.json["key"] for answer in answers if answer.status == 201}
    assert Counter(answer.status for answer in answers) == {201: KEYS_MAX - 1, 403: 51 - KEYS_MAX}
    assert len(await caller.listed(person, "/api-keys")) == KEYS_MAX


async def test_fifty_requests_at_once_stay_within_a_keys_credit_limit(caller: Caller) -> None:
    """Through two API processes: what all of them cost together is no more than the limit."""
    person = await caller.customer("1.000000")
    key = await _made(caller, person, credit_limit={"amount": str(LIMIT)})
    bound = Person(id=person.id, token=person.token, key=key["key"])
    answers = await asyncio.gather(
        *(
            caller.chat(bound, f"Question {number}", url=caller.shop.urls[number % 2], max_tokens=20)
            for number in range(50)
        )
    )
    codes = Counter(answer.json["error"]["code"] for answer in answers if answer.status != 200)
    assert set(codes) == {"key_credit_limit_exceeded"}, codes
    spent = sum((Decimal(answer.headers["X-Credits-Cost"]) for answer in answers if answer.status == 200), Decimal(0))
    assert 0 < spent <= LIMIT
    usage = await caller.ask("GET", key["usage_url"], token=person.token)
    assert Decimal(usage.json["totals"]["cost"]) == spent
    assert Decimal((await caller.balance(person))["held"]) == 0


async def test_a_secret_that_was_rotated_away_ends_on_every_process(caller: Caller) -> None:
    """Within a second, also where it is in use all the time; the new one works at once everywhere."""
    person = await caller.customer("1.000000")
    key = await _made(caller, person)
    here, there = caller.shop.urls

    async def status(secret: str, url: str) -> int:
        return (await caller.ask("GET", "/users/me", url=url, token=secret)).status

    assert [await status(key["key"], url) for url in (here, there)] == [200, 200]
    rotated = await caller.ask("POST", f"/api-keys/{key['id']}/rotate", {"overlap_s": 0}, token=person.token)
    assert rotated.status == 200, rotated
    caller.shop.secrets.add(rotated.json["key"])
    since = time.monotonic()
    assert await status(key["key"], here) == 401
    assert [await status(rotated.json["key"], url) for url in (here, there)] == [200, 200]

    async def ended() -> bool:
        return await status(key["key"], there) == 401

    await until(ended, 10, "the other process refuses the old secret")
    print(f"ended on the other process after {time.monotonic() - since:.3f} s; {REVOKED_S} s are promised")
