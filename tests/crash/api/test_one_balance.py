"""Fifty clients and one small balance, through two API processes: every answer is paid, every charge has its answer."""

import asyncio
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct

from tests.crash.api.shop import Answer, Caller, Person
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

CLIENTS = 50
BALANCE = Decimal("0.020000")
REFUSED = 402
KINDS = ("", "", "[[fail=error-503]]", "[[fail=mid-stream]] [[after=5]]")
"""Directives to the provider: fine, or failing before or after the first byte."""


class Asked(Struct, frozen=True, kw_only=True):
    """One request of a client, and how it ended; `None` when the client left before the answer."""

    request_id: str
    stream: bool
    kind: str
    answer: Answer | None


async def test_fifty_clients_spend_one_small_balance_exactly(caller: Caller, rng: random.Random) -> None:
    """Never below zero, never a paid answer without a charge, never a charge without an answer, nothing left held."""
    person = await caller.customer(str(BALANCE))
    lowest: list[Decimal] = []
    watching = asyncio.create_task(_watch(caller, person, lowest))
    seeds = [rng.random() for _ in range(CLIENTS)]
    asked = [
        each
        for client in await asyncio.gather(
            *(_client(caller, person, number, random.Random(seed)) for number, seed in enumerate(seeds))
        )
        for each in client
    ]
    await until(lambda: _all_ended(caller, person), 30, "every hold has ended")
    watching.cancel()
    balance = await caller.balance(person)
    charges = {
        each["request_id"]: each
        for each in await caller.listed(person, "/billing/credits/transactions")
        if each["kind"] == "charge"
    }
    print(f"{len(asked)} asked: {dict(Counter(_end(each) for each in asked))}, {len(charges)} charged")

    assert min(lowest) >= 0
    assert Decimal(balance["debt"]) == Decimal(0)
    assert Decimal(balance["balance"]) == BALANCE + sum(Decimal(each["amount"]) for each in charges.values())
    answered = {each.request_id for each in asked if _end(each) in {"answered", "broken"}}
    left = {each.request_id for each in asked if _end(each) == "left"}
    assert answered <= charges.keys(), "an answer was not charged"
    assert charges.keys() <= answered | left, "a charge has no answer"
    for each in asked:
        if _end(each) == "answered" and each.answer is not None and not each.stream:
            assert Decimal(each.answer.headers["X-Credits-Cost"]) == -Decimal(charges[each.request_id]["amount"])
    assert {each.answer.status for each in asked if each.answer} >= {200, REFUSED}
    holds = Counter(each["status"] for each in await caller.listed(person, "/billing/holds"))
    assert holds["settled"] == len(charges)
    assert set(holds) <= {"settled", "released"}


def _end(asked: Asked) -> str:
    if asked.answer is None:
        return "left"
    if asked.answer.status != 200:
        return str(asked.answer.status)
    return "broken" if "mid-stream" in asked.kind else "answered"


async def _client(caller: Caller, person: Person, number: int, rng: random.Random) -> list[Asked]:
    """Asks one after the other until the credits are used up; leaves before an answer now and then."""
    asked: list[Asked] = []
    refusals = 0
    while refusals < 2 and len(asked) < 40:
        kind, stream = rng.choice(KINDS), rng.random() < 0.5
        if not stream:
            kind = kind.replace("[[fail=mid-stream]] [[after=5]]", "")
        request_id = f"req-{number}-{len(asked)}"
        asking = asyncio.create_task(
            caller.chat(
                person,
                f"Client {number} asks {kind} [[latency_ms=5]]",
                url=rng.choice(caller.shop.urls),
                request_id=request_id,
                stream=stream,
            )
        )
        answer: Answer | None = None
        if rng.random() < 0.1:
            await asyncio.wait([asking], timeout=rng.random() / 20)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        else:
            answer = await asking
            refusals += answer.status == REFUSED
        asked.append(Asked(request_id=request_id, stream=stream, kind=kind, answer=answer))
    return asked


async def _watch(caller: Caller, person: Person, lowest: list[Decimal]) -> None:
    """Looks at the balance again and again, at both processes."""
    number = 0
    while True:
        number += 1
        url = caller.shop.urls[number % 2]
        shown: Any = (await caller.ask("GET", "/billing/credits", url=url, token=person.token)).json
        lowest += [Decimal(shown["available"]), Decimal(shown["balance"]), Decimal(shown["held"])]


async def _all_ended(caller: Caller, person: Person) -> bool:
    return all(each["status"] != "open" for each in await caller.listed(person, "/billing/holds"))
