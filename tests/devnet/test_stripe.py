"""Devnet with a payment provider: what is bought there arrives by webhook, and leaves when it is refunded."""

from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from api.plans import load_plans
from devnet.arguments import Common
from devnet.one_process import Devnet, devnet_settings
from devnet.provider import ProviderOptions
from devnet.seed import seed
from devnet.stripe import running
from devnet.stripe.form import parse
from devnet.stripe.selling import billing_at, delivering, prices, sold
from domain.money import format_credits, parse_credits
from tests.crash.waiting import until

CHOSEN = Common(host="127.0.0.1", port=0, json=True, limits=True, local_model=False, upstream=None, log_level="warning")


def test_forms_are_read_as_stripe_reads_them() -> None:
    """Nested objects and lists, in whatever order; an empty text is one."""
    assert parse("items[1][price]=b&items[0][price]=a&metadata[x]=1&expand[0]=data.lines&note=") == {
        "items": [{"price": "a"}, {"price": "b"}],
        "metadata": {"x": "1"},
        "expand": ["data.lines"],
        "note": "",
    }


def test_everything_with_a_price_is_sold() -> None:
    """Each has a price of its own there, in cents."""
    plans = sold(load_plans())
    cents = {each.id: each.cents for each in prices(plans)}
    assert cents == {"price_pro": 2_000, "price_team": 1_500, "price_top_up_small": 1_000, "price_top_up_bonus": 10_000}
    assert plans.free.stripe_price is None


async def test_a_purchase_arrives_by_webhook() -> None:
    """Opening the page pays; nobody comes back to the application, and the credits are there all the same."""
    async with AsyncExitStack() as stack:
        plans = sold(load_plans())
        shop = await stack.enter_async_context(running(prices(plans)))
        devnet = Devnet(CHOSEN, devnet_settings(CHOSEN, None, billing_at(shop)), ProviderOptions(), None, plans)
        await devnet.start(stack)
        seeded = await seed(devnet.url, devnet.grant_role)
        await stack.enter_async_context(delivering(shop, devnet.url))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        headers = {"Authorization": f"Bearer {seeded.user_token}"}

        async def ask(method: str, path: str, body: Any = None) -> Any:
            async with http.request(method, devnet.url + path, json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        async def balance_is(text: str) -> bool:
            return bool((await ask("GET", "/billing/credits"))["balance"] == text)

        before = (await ask("GET", "/billing/credits"))["balance"]
        page = {"success_url": "http://localhost/paid", "cancel_url": "http://localhost/"}
        begun = await ask("POST", "/billing/checkout", page | {"top_up": "bonus"})
        async with http.get(begun["url"], allow_redirects=False) as paid:
            assert paid.headers["location"] == page["success_url"]
        bought = format_credits(parse_credits(before) + parse_credits("110"))
        await until(lambda: balance_is(bought), 10, "the credits")
        payment = shop.all("payment_intent")[0]["id"]
        async with http.post(f"{shop.url}/_control/refund", json={"payment_id": payment, "cents": 10_000}) as control:
            assert control.status == 200
        await until(lambda: balance_is(before), 10, "the refund")
