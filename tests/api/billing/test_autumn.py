"""Plans sold with Autumn, over HTTP, with Autumn on loopback: what it says a customer has is what counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from api.billing.autumn_facts import status_of
from api.billing.settings import BillingSettings
from domain.instant import DAY, SECOND
from tests.api.running import Person, Running, application
from tests.autumn import SECRET_KEY, AutumnServer, running_autumn, subscription
from tests.worker.bench import T0

PAGES = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[Running, AutumnServer]]:
    """An application whose plans are paid for at Autumn."""
    async with running_autumn() as server:
        billing = BillingSettings(provider="autumn", autumn_secret_key=SECRET_KEY, autumn_api_url=server.url)
        async with application(billing=billing) as app:
            yield app, server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sold() -> AsyncIterator[tuple[Running, AutumnServer]]:
    """One shop for this module's tests."""
    async with shop() as opened:
        yield opened


async def buy(app: Running, person: Person, **what: object) -> tuple[int, object]:
    """Status and answer of a purchase's beginning."""
    answer = await app.ask("POST", "/billing/checkout", PAGES | what, token=person.token)
    return answer.status, answer.json


async def process(app: Running, person: Person, session_id: str = "autumn_pro", **more: object) -> tuple[int, object]:
    """Status and answer of coming back."""
    body = {"session_id": session_id} | more
    answer = await app.ask("POST", "/billing/checkout/process", body, token=person.token)
    return answer.status, answer.json if answer.status == 200 else answer.json["error"]["code"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_plan_is_bought(sold: tuple[Running, AutumnServer]) -> None:
    """The page is Autumn's; unpaid it is 402; paid it is the plan from then on, however often it is processed."""
    app, server = sold
    person = await app.register()
    status, begun = await buy(app, person, plan="pro")
    url = f"https://checkout.example.com/{person.id}/pro"
    assert (status, begun) == (200, {"url": url, "session_id": "autumn_pro", "expires_at": None})
    assert await process(app, person) == (402, "session_unpaid")
    server.customers[person.id].append(subscription("pro"))
    for _ in range(2):
        status, paid = await process(app, person)
        assert (status, paid["plan"], paid["status"]) == (200, "pro", "active")  # type: ignore[index]  # JSON
        granted = (await app.ask("GET", "/billing/credits", token=person.token)).json["balance"]
        assert granted == "20.000000", "the period's credits, once"
    shown = (await app.ask("GET", "/billing/subscription", token=person.token)).json
    assert (shown["plan"], shown["period_end"]) == ("pro", "2027-02-14T08:00:00Z")
    assert (await buy(app, person, plan="pro"))[0] == 409
    portal = await app.ask("POST", "/billing/portal", {"return_url": PAGES["success_url"]}, token=person.token)
    assert (portal.status, portal.json["url"]) == (200, f"https://portal.example.com/{person.id}")


@pytest.mark.asyncio(loop_scope="module")
async def test_with_a_card_on_file_there_is_no_page(sold: tuple[Running, AutumnServer]) -> None:
    """The browser goes on to where it would have come back to."""
    app, server = sold
    server.nothing_to_pay = True
    status, begun = await buy(app, await app.register(), plan="pro")
    server.nothing_to_pay = False
    assert (status, begun["url"]) == (200, PAGES["success_url"])  # type: ignore[index]  # JSON


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_claimed_wrongly_is_refused(sold: tuple[Running, AutumnServer]) -> None:
    """A checkout that never was, another amount, a plan that the customer does not have there."""
    app, server = sold
    person = await app.register()
    assert await process(app, person) == (403, "session_not_yours")
    assert await process(app, person, "cs_test_1") == (403, "session_not_yours")
    assert await process(app, person, "autumn_nothing") == (403, "session_not_yours")
    assert await process(app, person, amount="1000") == (403, "amount_mismatch")
    server.customers[person.id] = [subscription("team"), subscription("pro", status="scheduled")]
    assert await process(app, person) == (402, "session_unpaid")
    portal = await app.ask(
        "POST", "/billing/portal", {"return_url": "https://s.example/"}, token=(await app.register()).token
    )
    assert (portal.status, portal.json["error"]["code"]) == (409, "no_customer")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_autumn_does_not_sell_is_refused(sold: tuple[Running, AutumnServer]) -> None:
    """A plan it does not have, the free one, seats."""
    app, _ = sold
    person = await app.register()
    for what in ({"plan": "enterprise"}, {"plan": "free"}, {"plan": "team", "seats": 3}):
        status, refused = await buy(app, person, **what)
        assert (status, refused["error"]["code"]) == (400, "not_for_sale"), what  # type: ignore[index]  # JSON


@pytest.mark.asyncio(loop_scope="module")
async def test_while_autumn_hangs_the_rest_goes_on() -> None:
    """Purchases are 503 with a time to retry; nothing else asks Autumn; nothing is allowed because it is silent."""
    async with shop() as (app, server):
        person = await app.register()
        server.away = True
        asked = sum(server.asked.values())
        for path in ("/billing/subscription", "/billing/credits", "/billing/features", "/billing/plans"):
            assert (await app.ask("GET", path, token=person.token)).status == 200
        assert sum(server.asked.values()) == asked
    async with application(
        billing=BillingSettings(provider="autumn", autumn_secret_key=SECRET_KEY, autumn_api_url="http://127.0.0.1:1")
    ) as app:
        person = await app.register()
        for path, body in (
            ("/billing/checkout", PAGES | {"plan": "pro"}),
            ("/billing/portal", {"return_url": "https://s.example/"}),
            ("/billing/checkout/process", {"session_id": "autumn_pro"}),
        ):
            answer = await app.ask("POST", path, body, token=person.token)
            assert (answer.status, answer.json["error"]["code"]) == (503, "billing_unavailable")
            assert answer.headers["retry-after"] == "5"
        answer = await app.ask("POST", "/billing/webhooks/stripe", {"id": "evt_1"})
        assert (answer.status, answer.json["error"]["code"]) == (503, "not_configured")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_key_looks_like_an_outage() -> None:
    """What is wrong with it is the operator's business, and in the log."""
    async with running_autumn() as server:
        billing = BillingSettings(provider="autumn", autumn_secret_key="am_sk_wrong_key", autumn_api_url=server.url)
        async with application(billing=billing) as app:
            status, refused = await buy(app, await app.register(), plan="pro")
    assert (status, refused["error"]["code"]) == (503, "billing_unavailable")  # type: ignore[index]  # JSON


def test_a_subscription_lasts_until_it_expires() -> None:
    """A canceled one, one that is overdue, a trial; times are whole milliseconds."""
    from autumn_sdk.models import GetCustomerSubscription

    now_ms, day_ms = T0 // 1_000, DAY // 1_000
    for fields, status in (
        ({}, "active"),
        ({"trial_ends_at": now_ms + 1}, "trialing"),
        ({"trial_ends_at": now_ms}, "active"),
        ({"past_due": True, "trial_ends_at": now_ms + day_ms}, "past_due"),
        ({"canceled_at": now_ms - day_ms, "expires_at": now_ms + 1}, "active"),
        ({"canceled_at": now_ms - day_ms, "expires_at": now_ms, "past_due": True}, "canceled"),
    ):
        shown = GetCustomerSubscription.model_validate(subscription("pro", **fields))
        assert status_of(shown, T0) == status, fields
    assert T0 % SECOND == 0
