"""An application whose customers pay at a payment provider on loopback."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct, structs

from api.billing.settings import BillingSettings
from api.plans import Plans, TopUp, load_plans
from devnet.stripe import DevStripe, Price, running
from devnet.stripe.delivery import signed
from devnet.stripe.shop import Thing
from domain.instant import Instant
from domain.money import MICRO
from eventstore.clock import system_clock
from tests.api.running import Answer, Person, Running, application

PRICES = (
    Price(id="price_pro", cents=2_000, monthly=True),
    Price(id="price_team", cents=1_500, monthly=True),
    Price(id="price_crew", cents=1_500, monthly=True),
    Price(id="price_pack", cents=10_000, monthly=False),
    Price(id="price_plain", cents=1_234, monthly=False),
    Price(id="price_euro", cents=10_000, monthly=False, currency="eur"),
)
PAGES = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}
WEBHOOK = "/billing/webhooks/stripe"


def sold_plans() -> Plans:
    """The shipped plans, pro, team and crew (with a trial) for sale; 110 credits for 100 dollars, and some in euros."""
    shipped = load_plans()
    prices = {"pro": "price_pro", "team": "price_team"}
    plans = {name: structs.replace(plan, stripe_price=prices.get(name)) for name, plan in shipped.items()}
    plans["crew"] = structs.replace(plans["team"], id="crew", stripe_price="price_crew", trial_days=14)
    packs = [
        TopUp(id="bonus", title="110 credits", price=100 * MICRO, credits=110 * MICRO, stripe_price="price_pack"),
        TopUp(id="euro", title="In euros", price=100 * MICRO, credits=100 * MICRO, stripe_price="price_euro"),
        TopUp(id="unsold", title="Not at Stripe", price=MICRO, credits=MICRO),
    ]
    return Plans(plans, features=shipped.features, top_ups={each.id: each for each in packs})


class Shop(Struct, kw_only=True):
    """The application and its payment provider."""

    app: Running
    stripe: DevStripe

    async def begin(self, person: Person, *, headers: Mapping[str, str] | None = None, **what: Any) -> Answer:
        """Begins a purchase."""
        return await self.app.ask("POST", "/billing/checkout", PAGES | what, token=person.token, headers=headers)

    async def process(self, person: Person, session_id: str, **more: Any) -> Answer:
        """Comes back from the page."""
        body = {"session_id": session_id} | more
        return await self.app.ask("POST", "/billing/checkout/process", body, token=person.token)

    async def bought(self, person: Person, **what: Any) -> Thing:
        """A purchase that is paid and that nobody was told of yet: the session."""
        answer = await self.begin(person, **what)
        assert answer.status == 200, answer
        return self.stripe.pay(answer.json["session_id"])

    async def tell(self, event: Thing) -> Answer:
        """Delivers an event."""
        body, signature = signed(event, self.stripe.webhook_secret)
        return await self.app.post(WEBHOOK, body, {"Stripe-Signature": signature, "Content-Type": "application/json"})

    async def tell_all(self) -> None:
        """Delivers all events there are, in their order."""
        for event in self.stripe.events:
            answer = await self.tell(event)
            assert answer.status == 200, answer

    async def credits(self, person: Person) -> dict[str, Any]:
        """What the account has."""
        answer = await self.app.ask("GET", "/billing/credits", token=person.token)
        found: dict[str, Any] = answer.json
        return found

    async def subscription(self, person: Person) -> dict[str, Any]:
        """How the account's subscription stands."""
        answer = await self.app.ask("GET", "/billing/subscription", token=person.token)
        found: dict[str, Any] = answer.json
        return found


@asynccontextmanager
async def shop_that_asks_once() -> AsyncIterator[Shop]:
    """An application that asks Stripe once and not again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.billing.stripe_client.RETRIES", 0)
        async with shop_open() as opened:
            yield opened


@asynccontextmanager
async def shop_open(*, clock: Callable[[], Instant] = system_clock) -> AsyncIterator[Shop]:
    """An application with a provider of its own."""
    async with running(PRICES) as stripe:
        billing = BillingSettings(
            provider="stripe",
            stripe_secret_key=stripe.secret_key,
            stripe_webhook_secrets=("whsec_of_yesterday_0000", stripe.webhook_secret),
            stripe_api_url=stripe.url,
        )
        async with application(billing=billing, plans=sold_plans(), clock=clock) as app:
            yield Shop(app=app, stripe=stripe)
