"""Buying over HTTP: what Stripe says was paid is granted, once, and nothing that a client claims."""

import asyncio
from typing import Any

import pytest

from tests.api.billing.paying import PAGES, Shop
from tests.api.gateway.account import until
from tests.api.running import Person, application

CHECKOUT = "/billing/checkout"


@pytest.fixture(autouse=True)
def quiet(shop: Shop) -> None:
    """Events of other tests are none of this one's."""
    shop.stripe.events.clear()
    shop.stripe.outage = "none"


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_top_up_200(shop: Shop) -> None:
    """The pack's credits, bonus included, however often the client says so and the webhook too."""
    person = await shop.app.register()
    begun = await shop.begin(person, top_up="bonus")
    assert begun.status == 200
    assert begun.json["url"].startswith(shop.stripe.url)
    session_id = begun.json["session_id"]
    assert (await shop.process(person, session_id)).code == "session_unpaid"
    shop.stripe.pay(session_id)
    for _ in range(2):
        answer = await shop.process(person, session_id)
        assert answer.status == 200, answer
        assert (answer.json["kind"], answer.json["credits"]) == ("top_up", "110.000000")
        await shop.tell_all()
    credits = await shop.credits(person)
    assert (credits["balance"], [each["source"] for each in credits["grants"]]) == ("110.000000", ["purchase"])


async def test_an_upgrade_is_offered_where_it_can_be_made(shop: Shop) -> None:
    """By a checkout; in the portal while Stripe bills a subscription. The call that is named is let in."""
    person, admin = await shop.app.register(), await shop.app.admin()
    assert await _offered(shop, person) == "/billing/checkout"
    told = {"account_id": person.id, "plan": "pro", "status": "active", "reference": "by hand"}
    told |= {"occurred_at": "2026-01-01T00:00:00Z"}
    assert (await shop.app.ask("PUT", "/billing/subscription", told, token=admin.token)).status == 200
    assert await _offered(shop, person) == "/billing/checkout"
    session = await shop.bought(person, plan="pro")
    assert (await shop.process(person, session["id"])).status == 200
    assert await _offered(shop, person) == "/billing/portal"
    shop.stripe.cancel(session["subscription"])
    await shop.tell_all()
    async with asyncio.timeout(10):  # what is known of callers may be a second old
        while await _offered(shop, person) != "/billing/checkout":
            await asyncio.sleep(0.02)


async def _offered(shop: Shop, person: Person) -> str:
    """The path of the call that buys organizations."""
    answer = await shop.app.ask("POST", "/billing/eligibility", {"feature": "organizations"}, token=person.token)
    call = answer.json["checkout"]
    pages = {"return_url": PAGES["cancel_url"]} if call["path"].endswith("portal") else PAGES
    assert (await shop.app.ask(call["method"], call["path"], call["body"] | pages, token=person.token)).status == 200
    return str(call["path"])


async def test_a_plan_200(shop: Shop) -> None:
    """The subscription is as Stripe says, seats included; a second one is refused."""
    person = await shop.app.register()
    session = await shop.bought(person, plan="team", seats=3)
    answer = await shop.process(person, session["id"])
    assert (answer.status, answer.json["kind"], answer.json["plan"]) == (200, "plan", "team")
    found = await shop.subscription(person)
    assert (found["plan"], found["status"], found["seats"]) == ("team", "active", 3)
    assert (await shop.begin(person, plan="pro")).code == "already_subscribed"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({}, "invalid_purchase"),
        ({"plan": "pro", "top_up": "bonus"}, "invalid_purchase"),
        ({"plan": "gold"}, "unknown_plan"),
        ({"top_up": "gold"}, "not_for_sale"),
        ({"top_up": "unsold"}, "not_for_sale"),
        ({"plan": "free"}, "not_for_sale"),
        ({"plan": "enterprise"}, "not_for_sale"),
        ({"plan": "pro", "seats": 2}, "invalid_subscription"),
        ({"plan": "pro", "success_url": "javascript:alert(1)"}, "invalid_url"),
        ({"plan": "pro", "success_url": "http://shop.example/"}, "invalid_url"),
        ({"plan": "pro", "cancel_url": "https://user@shop.example/"}, "invalid_url"),
        ({"plan": "pro", "cancel_url": "https://shop.example/\n"}, "invalid_url"),
        ({"plan": "pro", "cancel_url": "https://[shop.example/"}, "invalid_url"),
        ({"top_up": "bonus", "amount": "1000"}, "unknown_field"),
    ],
)
async def test_checkout_400(shop: Shop, what: dict[str, Any], code: str) -> None:
    """What cannot be bought, and pages that no browser should be sent to."""
    person = await shop.app.register()
    answer = await shop.begin(person, **what)
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert code in (answer.code, "unknown_field")


async def test_another_account_403(shop: Shop) -> None:
    """Whoever learns of a session cannot have its credits, nor what is none at all."""
    person, other = await shop.app.register(), await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    for session_id in (session["id"], "cs_test_invented"):
        answer = await shop.process(other, session_id)
        assert (answer.status, answer.code) == (403, "session_not_yours")
    assert (await shop.credits(other))["balance"] == "0.000000"
    await audited(shop, other, "session_not_yours", times=2)


async def audited(shop: Shop, person: Person, code: str, *, times: int = 1) -> None:
    """Each refusal is in the trail without waiting for any minute's end."""

    async def refused() -> bool:
        trail = await shop.app.ask("GET", "/audit", token=person.token)
        found = [each for each in trail.json["data"] if each["code"] == code]
        assert all(each["action"] == "POST /billing/checkout/process" for each in found)
        return bool(sum(each["count"] for each in found) == times)

    await until(refused)


async def test_another_amount_403(shop: Shop) -> None:
    """A client that claims another amount is refused, and granted nothing; the right one is fine."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    answer = await shop.process(person, session["id"], amount="1000")
    assert (answer.status, answer.code) == (403, "amount_mismatch")
    assert (await shop.credits(person))["balance"] == "0.000000"
    await audited(shop, person, "amount_mismatch")
    assert (await shop.process(person, session["id"], amount="110.0")).status == 200


async def test_an_expired_session_402(shop: Shop) -> None:
    """Expired unpaid: nothing was bought."""
    person = await shop.app.register()
    session_id = (await shop.begin(person, top_up="bonus")).json["session_id"]
    shop.stripe.expire(session_id)
    answer = await shop.process(person, session_id)
    assert (answer.status, answer.code) == (402, "session_expired")
    await audited(shop, person, "session_expired")


async def test_a_transfer_counts_when_the_money_is_there(shop: Shop) -> None:
    """A complete session whose payment is on its way grants nothing yet."""
    person = await shop.app.register()
    session_id = (await shop.begin(person, top_up="bonus")).json["session_id"]
    shop.stripe.pay(session_id, settled=False)
    await shop.tell_all()
    assert (await shop.process(person, session_id)).code == "session_unpaid"
    await audited(shop, person, "session_unpaid")
    assert (await shop.credits(person))["balance"] == "0.000000"
    shop.stripe.settle(session_id)
    await shop.tell_all()
    assert (await shop.credits(person))["balance"] == "110.000000"


async def test_another_currency_409(shop: Shop) -> None:
    """Euros are not dollars: nothing is granted, and the client is told so."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="euro")
    assert (await shop.process(person, session["id"])).code == "payment_not_granted"
    await shop.tell_all()
    assert (await shop.credits(person))["balance"] == "0.000000"


async def test_a_key_needs_the_scope_403(shop: Shop) -> None:
    """A key that may read and write cannot buy, nor open the portal; one of mode test cannot either."""
    person = await shop.app.register()
    plain = (await shop.app.key(person))["key"]
    test = (await shop.app.key(person, scopes=["billing:pay"], mode="test"))["key"]
    for key, code in ((plain, "missing_scope"), (test, "live_key_required")):
        answer = await shop.app.ask("POST", CHECKOUT, PAGES | {"top_up": "bonus"}, api_key=key)
        assert (answer.status, answer.code) == (403, code)
        answer = await shop.app.ask("POST", "/billing/portal", {"return_url": "https://shop.example"}, api_key=key)
        assert (answer.status, answer.code) == (403, code)


async def test_one_page_for_one_idempotency_key(shop: Shop) -> None:
    """A repeat leads to the same page; the key for something else is refused."""
    person = await shop.app.register()
    headers = {"Idempotency-Key": "buy-1"}
    first = await shop.begin(person, top_up="bonus", headers=headers)
    assert (await shop.begin(person, top_up="bonus", headers=headers)).json == first.json
    other = await shop.begin(person, top_up="euro", headers=headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_one_customer_for_one_account(shop: Shop) -> None:
    """All purchases of an account are one customer's; one that Stripe has lost is made again."""
    person = await shop.app.register()
    first = await shop.bought(person, top_up="bonus")
    second = await shop.bought(person, top_up="bonus")
    assert first["customer"] == second["customer"]
    shop.stripe.things[first["customer"]]["deleted"] = True
    third = await shop.bought(person, top_up="bonus")
    assert third["customer"] != first["customer"]
    assert (await shop.bought(person, top_up="bonus"))["customer"] == third["customer"]


@pytest.mark.parametrize(("outage", "status"), [("none", "canceled"), ("down", "active")])
async def test_who_is_erased_is_billed_no_more(shop: Shop, outage: Any, status: str) -> None:
    """The subscription is canceled at Stripe too; an outage there keeps nobody from being erased."""
    person = await shop.app.register()
    session = await shop.bought(person, plan="pro")
    shop.stripe.outage = outage
    assert (await shop.app.ask("DELETE", "/users/me", token=person.token)).status == 200
    assert shop.stripe.find(session["subscription"], "subscription")["status"] == status


async def test_portal(shop: Shop) -> None:
    """The portal is for who bought something."""
    person = await shop.app.register()
    body = {"return_url": "https://shop.example/"}
    assert (await shop.app.ask("POST", "/billing/portal", body, token=person.token)).code == "no_customer"
    await shop.bought(person, top_up="bonus")
    answer = await shop.app.ask("POST", "/billing/portal", body, token=person.token)
    assert answer.status == 200
    assert answer.json["url"].startswith(f"{shop.stripe.url}/portal/")


@pytest.mark.parametrize("outage", ["down", "garbage", "unauthorized"])
async def test_an_outage_503(shop: Shop, outage: str) -> None:
    """Purchases wait, nothing is lost, and nothing is granted twice when the provider comes back."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    shop.stripe.outage = outage  # type: ignore[assignment]
    for answer in (
        await shop.begin(person, top_up="bonus"),
        await shop.process(person, session["id"]),
        await shop.tell(shop.stripe.events[-1]),
    ):
        assert (answer.status, answer.code) == (503, "billing_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert (await shop.credits(person))["balance"] == "0.000000"
    shop.stripe.outage = "none"
    await shop.tell_all()
    assert (await shop.process(person, session["id"])).status == 200
    assert (await shop.credits(person))["balance"] == "110.000000"


async def test_no_provider_503() -> None:
    """Without a provider nothing is sold, nothing is believed, and everything says what to set."""
    async with application() as app:
        person = await app.register()
        session = {"session_id": "cs_1"}
        for path, body in ((CHECKOUT, PAGES | {"plan": "pro"}), (f"{CHECKOUT}/process", session)):
            answer = await app.ask("POST", path, body, token=person.token)
            assert (answer.status, answer.code) == (503, "not_configured")
        answer = await app.post("/billing/webhooks/stripe", b"{}", {"Stripe-Signature": "t=1,v1=0"})
        assert (answer.status, answer.code) == (503, "not_configured")
