"""Stripe goes away in the middle of a call, after any number of its answers: 503, and the same end when it is back."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from devnet.stripe.shop import Thing
from tests.api.billing.paying import PAGES, Shop
from tests.api.running import Answer, Person

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("quiet")]
STRIPE_IS_ASKED_ONCE = True


async def until_taken(shop: Shop, ask: Callable[[], Awaitable[Answer]]) -> tuple[Answer, int]:
    """Asks with no answer of Stripe's, with one, with two, and so on: the first success, and how many that took."""
    for answers in itertools.count():
        shop.stripe.answers_left = answers
        answer = await ask()
        shop.stripe.answers_left = None
        if answer.status == 200:
            return answer, answers
        assert (answer.status, answer.code) == (503, "billing_unavailable"), answer
        assert int(answer.headers["retry-after"]) > 0
    raise AssertionError


@pytest.mark.parametrize(("what", "least"), [({"top_up": "bonus"}, 2), ({"plan": "pro"}, 3)])
async def test_a_checkout(shop: Shop, what: dict[str, Any], least: int) -> None:
    """Begun again under the same key it is the same purchase, and the account is one customer."""
    person = await shop.app.register()
    headers = {"Idempotency-Key": "again"}
    answer, answers = await until_taken(shop, lambda: shop.begin(person, headers=headers, **what))
    assert answers >= least
    sessions = [each for each in shop.stripe.all("checkout.session") if each["client_reference_id"] == person.id]
    assert [each["id"] for each in sessions] == [answer.json["session_id"]]
    owned = [each for each in shop.stripe.all("customer") if each["metadata"] == {"formstate_account": person.id}]
    assert len(owned) == 1


async def test_a_page_for_a_plan_while_others_are_open(shop: Shop) -> None:
    """Other pages are closed in the end, at whatever step of it Stripe went away."""
    person = await shop.app.register()
    assert (await shop.begin(person, plan="pro")).status == 200
    await until_taken(shop, lambda: shop.begin(person, plan="team", seats=2))
    pages = [each for each in shop.stripe.all("checkout.session") if each["client_reference_id"] == person.id]
    assert sum(1 for each in pages if each["status"] == "open") == 1


async def test_the_portal(shop: Shop) -> None:
    """It opens when Stripe is back."""
    person = await shop.app.register()
    await shop.begin(person, top_up="bonus")
    body = {"return_url": PAGES["cancel_url"]}
    await until_taken(shop, lambda: shop.app.ask("POST", "/billing/portal", body, token=person.token))


@pytest.mark.parametrize("what", [{"top_up": "bonus"}, {"plan": "pro"}])
async def test_coming_back_from_the_page(shop: Shop, what: dict[str, Any]) -> None:
    """What was paid is granted once, however often Stripe went away in the middle of asking."""
    person = await shop.app.register()
    session = await shop.bought(person, **what)
    await until_taken(shop, lambda: shop.process(person, session["id"]))
    await shop.tell_all()
    assert (await shop.credits(person))["balance"] == ("110.000000" if "top_up" in what else "20.000000")


async def _subscription(shop: Shop, person: Person) -> None:
    session = await shop.bought(person, plan="pro")
    shop.stripe.renew(session["subscription"], paid=False)
    shop.stripe.collect(session["subscription"])
    invoice = shop.stripe.find(shop.stripe.find(session["subscription"], "subscription")["latest_invoice"], "invoice")
    (paid,) = shop.stripe.all("invoice_payment", invoice=invoice["id"])
    shop.stripe.refund(paid["payment_intent"], 500)
    shop.stripe.cancel(session["subscription"])


async def _top_up(shop: Shop, person: Person) -> None:
    session = await shop.bought(person, top_up="bonus")
    shop.stripe.refund(session["payment_intent"], 2_000)
    dispute = shop.stripe.dispute(session["payment_intent"], 8_000)
    shop.stripe.close_dispute(dispute["id"], "lost")


@pytest.mark.parametrize("life", [_subscription, _top_up])
async def test_every_kind_of_event(shop: Shop, life: Callable[[Shop, Person], Awaitable[None]]) -> None:
    """Each event of a purchase's life is taken once Stripe answers to the end, and the sums are right then."""
    person = await shop.app.register()
    await life(shop, person)
    kinds: dict[str, Thing] = {each["type"]: each for each in shop.stripe.events}
    for event in kinds.values():
        await until_taken(shop, lambda event=event: shop.tell(event))  # type: ignore[misc]  # binds the event
    await shop.tell_all()
    found = await shop.credits(person)
    assert (found["balance"], found["debt"]) == ("0.000000" if life is _top_up else "15.000000", "0.000000")
    if life is _subscription:
        assert (await shop.subscription(person))["status"] == "canceled"
