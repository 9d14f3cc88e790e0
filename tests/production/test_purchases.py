"""A purchase on the real servers: told twice to two API processes while the workers are killed, and disputed later."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct

import api.plans
from devnet.scratch import free_port
from devnet.seed import wait_until_ready
from devnet.stripe import DevStripe, Price, running
from devnet.stripe.delivery import signed
from devnet.stripe.shop import Thing
from tests.crash.api.shop import Answer, Caller, Person, Shop
from tests.crash.waiting import until

PACK = """
[top_ups.bonus]
title = "110 credits"
price = "100"
credits = "110"
stripe_price = "price_pack"
"""
PLAN = 'title = "Pro"'
PRICES = (
    Price(id="price_pack", cents=10_000, monthly=False),
    Price(id="price_pro", cents=2_000, monthly=True),
)
CREDITS = Decimal("110.000000")
BEFORE = Decimal("0.000001")
ZERO = Decimal(0)
PAGES = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}
TAKEN_OVER_S = 60.0


class Till(Struct, frozen=True, kw_only=True):
    """The payment provider, and the API processes that sell there."""

    stripe: DevStripe
    urls: list[str]
    caller: Caller

    async def tell(self, events: list[Thing]) -> list[int]:
        """Delivers each event to each process, twice, all at once: the statuses."""
        return await asyncio.gather(*(self._deliver(url, event) for event in events for url in self.urls * 2))

    async def _deliver(self, url: str, event: Thing) -> int:
        body, signature = signed(event, self.stripe.webhook_secret)
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        async with self.caller.http.post(f"{url}/billing/webhooks/stripe", data=body, headers=headers) as answer:
            return answer.status

    async def process(self, person: Person, session_id: str, url: str) -> Answer:
        """Comes back from the page."""
        body = {"session_id": session_id}
        return await self.caller.ask("POST", "/billing/checkout/process", body, url=url, token=person.token)


@pytest.fixture
async def till(shop: Shop, caller: Caller) -> AsyncIterator[Till]:
    """Two API processes more, which sell."""
    plans = shop.deployment.folder / "sold.toml"
    shipped = Path(api.plans.__file__).with_name("plans.toml").read_text("utf-8")
    assert PLAN in shipped
    plans.write_text(shipped.replace(PLAN, PLAN + '\nstripe_price = "price_pro"') + PACK, "utf-8")
    async with running(PRICES) as stripe:
        settings = {
            "FORMSTATE_PLANS_FILE": str(plans),
            "FORMSTATE_BILLING_PROVIDER": "stripe",
            "FORMSTATE_STRIPE_SECRET_KEY": stripe.secret_key,
            "FORMSTATE_STRIPE_WEBHOOK_SECRETS": stripe.webhook_secret,
            "FORMSTATE_STRIPE_API_URL": stripe.url,
        }
        ports = [free_port(), free_port()]
        processes = [shop.deployment.start("api", "api", FORMSTATE_PORT=str(port), **settings) for port in ports]
        try:
            urls = [f"http://127.0.0.1:{port}" for port in ports]
            for url in urls:
                await wait_until_ready(url)
            yield Till(stripe=stripe, urls=urls, caller=caller)
        finally:
            for process in processes:
                process.kill()


async def test_a_purchase_counts_once(till: Till, shop: Shop) -> None:
    """Credits to the micro-credit: bought once, taken back with the dispute as debt, given back when it is won."""
    caller = till.caller
    person = await caller.customer(str(BEFORE))
    body = PAGES | {"top_up": "bonus"}
    begun = await caller.ask("POST", "/billing/checkout", body, url=till.urls[0], token=person.token)
    assert begun.status == 200, begun
    paid = till.stripe.pay(begun.json["session_id"])

    for worker in shop.deployment.workers():
        worker.kill()
    telling = asyncio.create_task(till.tell(list(till.stripe.events)))
    for _ in range(2):
        shop.deployment.start_worker()
    assert set(await telling) == {200}, "the log has it, whether workers live or not"
    for url in till.urls:
        await until(partial(_processed, till, person, paid["id"], url), TAKEN_OVER_S, f"processed at {url}")
    assert await _figures(till, person) == (CREDITS + BEFORE, ZERO)

    assert (await caller.chat(person, "Hello.", url=till.urls[1])).status == 200
    spent = CREDITS + BEFORE - (await _figures(till, person))[0]
    assert spent > BEFORE
    told = len(till.stripe.events)
    dispute = till.stripe.dispute(paid["payment_intent"])
    assert set(await till.tell(till.stripe.events[told:])) == {200}
    assert await _figures(till, person) == (ZERO, spent - BEFORE)

    till.stripe.close_dispute(dispute["id"], "won")
    assert set(await till.tell(till.stripe.events[told:])) == {200}
    assert await _figures(till, person) == (CREDITS + BEFORE - spent, ZERO)
    movements = await caller.listed(person, "/billing/credits/transactions")
    assert sum(Decimal(each["amount"]) for each in movements) == CREDITS + BEFORE - spent
    assert [each["kind"] for each in movements].count("grant") == 2
    await _buy_a_plan_twice(till)
    await asyncio.to_thread(shop.deployment.operate, "verify")


async def _buy_a_plan_twice(till: Till) -> None:
    """On both processes at once: one page stays open; of two that are paid all the same one counts, one is refunded."""
    person, body = await till.caller.customer(str(BEFORE)), PAGES | {"plan": "pro"}
    begun = await asyncio.gather(
        *(till.caller.ask("POST", "/billing/checkout", body, url=url, token=person.token) for url in till.urls * 2)
    )
    assert {each.status for each in begun} <= {200, 409}
    assert len(till.stripe.all("checkout.session", mode="subscription", status="open")) <= 1
    told, made = len(till.stripe.events), till.stripe.all("checkout.session", mode="subscription")[:2]
    for page in made:
        page["status"] = "open"  # paid in the very moment in which it was closed
    bought = [till.stripe.find(till.stripe.pay(each["id"])["subscription"], "subscription") for each in made]
    while statuses := await till.tell(till.stripe.events[told:]):
        if set(statuses) == {200}:
            break
        assert set(statuses) <= {200, 503}, "two processes may meet at one refund: then it is told again"
    assert sorted(each["status"] for each in bought) == ["active", "canceled"]
    assert [each["amount"] for each in till.stripe.all("refund")] == [2_000]
    assert set(await till.tell(till.stripe.events[told:])) == {200}
    assert await _figures(till, person) == (Decimal("20.000000") + BEFORE, ZERO)


async def _processed(till: Till, person: Person, session_id: str, url: str) -> bool:
    return (await till.process(person, session_id, url)).status == 200


async def _figures(till: Till, person: Person) -> tuple[Decimal, Decimal]:
    shown = await till.caller.balance(person)
    return Decimal(shown["balance"]), Decimal(shown["debt"])
