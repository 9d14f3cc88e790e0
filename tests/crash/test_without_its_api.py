"""A stream whose API process was killed with kill -9: what was delivered is charged all the same.

The last of the crash tests: its processes may have lived through all before.
"""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from devnet.seed import wait_until_ready
from tests.crash.api.doomed import REQUEST_ID, Doomed
from tests.crash.api.shop import HOLD_MARGIN_S, SHORT_TIMEOUT_S, Caller
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

READY_S = 30.0
EXPIRES_S = SHORT_TIMEOUT_S + HOLD_MARGIN_S + 30


async def test_apis_and_workers_outlive_every_restart_of_their_servers(caller: Caller) -> None:
    """Processes whose Kafka and PostgreSQL were restarted meanwhile are ready again by themselves."""
    for url in caller.shop.urls:
        await wait_until_ready(url, READY_S)
    running = Counter(each.name.partition("-")[0] for each in caller.shop.deployment.processes if each.alive)
    assert running == {"provider": 1, "worker": 2, "api": 2}
    person = await caller.customer("1.000000")
    for url in caller.shop.urls:
        assert (await caller.chat(person, "Are you well?", url=url)).status == 200


async def test_hold_of_a_killed_api_ends_at_its_progress_and_the_usage_is_on_record(
    caller: Caller, doomed: Doomed
) -> None:
    """Nobody is left to settle: the hold expires, is charged what it reported last, and says that this is estimated."""
    person = doomed.person

    async def closed() -> dict[str, Any] | None:
        [hold] = await caller.listed(person, "/billing/holds")
        await asyncio.sleep(0.2)
        return hold if hold["status"] != "open" else None

    hold = await until(closed, EXPIRES_S, "the hold has ended")
    assert hold is not None
    assert (hold["id"], hold["status"]) == (doomed.hold_id, "expired")
    assert hold["usage"]["source"] == "estimated"
    assert hold["usage"]["output_tokens"] >= doomed.hold["usage"]["output_tokens"] > 0
    cost = Decimal(hold["cost"])
    assert cost == (hold["usage"]["input_tokens"] * 1 + hold["usage"]["output_tokens"] * 4) / Decimal(1_000_000)

    charges = [
        each for each in await caller.listed(person, "/billing/credits/transactions") if each["kind"] == "charge"
    ]
    assert [(each["hold_id"], Decimal(each["amount"])) for each in charges] == [(hold["id"], -cost)]
    balance = await caller.balance(person)
    assert Decimal(balance["held"]) == Decimal(0)
    assert Decimal(balance["balance"]) == Decimal("5.000000") - cost
    usage = (await caller.ask("GET", "/billing/usage", token=person.token)).json["totals"]
    assert (usage["requests"], usage["estimated"], Decimal(usage["cost"])) == (1, 1, cost)


async def test_provider_is_not_kept_busy_for_a_killed_api(caller: Caller, doomed: Doomed) -> None:
    """The connection to the provider ends with the process."""
    seen = await caller.provider()
    [entry] = [each for each in seen["log"] if each["headers"].get("x-request-id") == REQUEST_ID]
    assert entry["ended"] == "client_cancelled"


async def test_an_erasure_goes_on_without_its_api(caller: Caller, doomed: Doomed) -> None:
    """Another process ends it, though nobody asks again: the user is gone, and the address is free."""
    person = doomed.erasing

    async def gone() -> bool:
        return (await caller.ask("GET", "/users/me", token=person["token"])).status == 401

    await until(gone, 90, "the erasure has gone on", poll_s=0.5)
    again = {"email": person["email"], "password": person["password"]}
    assert (await caller.ask("POST", "/auth/register", again)).status == 201
