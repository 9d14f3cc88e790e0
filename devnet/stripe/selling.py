"""Makes a devnet sell at the payment provider: all that has a price, and a few top-ups where the file has none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import structs

from api.billing.settings import BillingSettings
from api.plans import Plans, TopUp
from devnet.stripe.delivery import Delivery
from devnet.stripe.shop import DevStripe, Price
from domain.money import MICRO

MICRO_PER_CENT = MICRO // 100
TOP_UPS = (
    TopUp(id="small", title="10 credits", price=10 * MICRO, credits=10 * MICRO),
    TopUp(id="bonus", title="110 credits", price=100 * MICRO, credits=110 * MICRO),
)


def sold(plans: Plans) -> Plans:
    """The plans with a price at Stripe for each that costs something and has none, and top-ups."""
    priced = {
        name: structs.replace(plan, stripe_price=plan.stripe_price or f"price_{name}") if plan.price else plan
        for name, plan in plans.items()
    }
    packs = plans.top_ups.values() or TOP_UPS
    top_ups = {
        each.id: structs.replace(each, stripe_price=each.stripe_price or f"price_top_up_{each.id}") for each in packs
    }
    return Plans(priced, features=plans.features, top_ups=top_ups)


def prices(plans: Plans) -> list[Price]:
    """What the provider must know to sell them."""
    subscribed = [
        Price(id=plan.stripe_price, cents=plan.price // MICRO_PER_CENT, monthly=True)
        for plan in plans.values()
        if plan.stripe_price is not None and plan.price
    ]
    once = [
        Price(id=each.stripe_price, cents=each.price // MICRO_PER_CENT, monthly=False)
        for each in plans.top_ups.values()
        if each.stripe_price is not None
    ]
    return [*subscribed, *once]


def billing_at(shop: DevStripe) -> BillingSettings:
    """Settings under which that provider takes the money."""
    return BillingSettings(
        provider="stripe",
        stripe_secret_key=shop.secret_key,
        stripe_webhook_secrets=(shop.webhook_secret,),
        stripe_api_url=shop.url,
    )


@asynccontextmanager
async def delivering(shop: DevStripe, url: str) -> AsyncIterator[None]:
    """What happens at the provider is told to the server at `url` until the block ends."""
    task = asyncio.create_task(Delivery(shop, f"{url}/billing/webhooks/stripe").run(), name="stripe-webhooks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
