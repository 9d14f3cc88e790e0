"""One plan at a time at Stripe: other pages are closed; what is bought twice all the same is ended and refunded."""

import asyncio
import itertools
import random
from typing import Any

import pytest

from api.billing.stripe_seconds import BOUGHT, INSTEAD, seconds, that_count
from devnet.stripe.shop import Thing
from tests.api.billing.paying import PAGES, Shop
from tests.api.running import Person

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("quiet")]
STRIPE_IS_ASKED_ONCE = True


async def opened(shop: Shop, person: Person, **what: Any) -> str:
    """The session of a page that was just opened."""
    answer = await shop.begin(person, **what)
    assert answer.status == 200, answer
    return str(answer.json["session_id"])


def paid_both(shop: Shop, first: str) -> tuple[Thing, Thing]:
    """A page that nobody closed in time is paid beside the other one: both subscriptions, in the order of buying."""
    page = shop.stripe.find(first, "checkout.session")
    again = shop.stripe.session(
        PAGES
        | {
            "mode": "subscription",
            "customer": page["customer"],
            "metadata": page["metadata"],
            "line_items": [{"price": "price_team", "quantity": 2}],
            "subscription_data": page["later"]["subscription"],
        }
    )
    bought = [shop.stripe.pay(each)["subscription"] for each in (first, again["id"])]
    one, two = (shop.stripe.find(each, "subscription") for each in bought)
    one["created"] -= 1
    return one, two


def sent_back(shop: Shop, subscription: Thing) -> int:
    """How many cents of the subscription's first invoice were sent back."""
    (paid,) = shop.stripe.all("invoice_payment", invoice=subscription["latest_invoice"])
    return int(shop.stripe.charge_of(paid["payment_intent"])["amount_refunded"])


async def ended_well(shop: Shop, person: Person, one: Thing, two: Thing) -> None:
    """The first subscription counts, once; the second one is over, and nothing is left of its money."""
    assert (one["status"], sent_back(shop, one)) == ("active", 0)
    assert (two["status"], sent_back(shop, two)) == ("canceled", 3_000)
    assert len(shop.stripe.all("refund", payment_intent=_payment(shop, two))) == 1
    found, credits = await shop.subscription(person), await shop.credits(person)
    assert (found["plan"], found["status"]) == ("pro", "active")
    assert (credits["balance"], credits["debt"]) == ("20.000000", "0.000000")


def _payment(shop: Shop, subscription: Thing) -> str:
    return str(shop.stripe.all("invoice_payment", invoice=subscription["latest_invoice"])[0]["payment_intent"])


async def test_another_page_closes_the_first(shop: Shop) -> None:
    """Only the newest page of a plan can be paid; pages of top-ups stay open."""
    person = await shop.app.register()
    pack, first = await opened(shop, person, top_up="bonus"), await opened(shop, person, plan="pro")
    second = await opened(shop, person, plan="team", seats=2)
    states = [shop.stripe.find(each, "checkout.session")["status"] for each in (pack, first, second)]
    assert states == ["open", "expired", "open"]
    assert (await shop.process(person, first)).code == "session_expired"


async def test_a_late_repeat_closes_nothing(shop: Shop) -> None:
    """The page of an old request is not opened again, and the newer one stays."""
    person, headers = await shop.app.register(), {"Idempotency-Key": "first"}
    await shop.begin(person, plan="pro", headers=headers)
    newer = await opened(shop, person, plan="pro")
    late = await shop.begin(person, plan="pro", headers=headers)
    assert (late.status, late.code) == (409, "checkout_superseded")
    assert shop.stripe.find(newer, "checkout.session")["status"] == "open"


async def test_pages_begun_at_once(shop: Shop) -> None:
    """However many requests there are at a time, at most one of their pages can be paid."""
    person = await shop.app.register()
    await opened(shop, person, top_up="bonus")  # the customer is there
    answers = await asyncio.gather(*(shop.begin(person, plan="pro") for _ in range(6)))
    assert {each.status for each in answers} <= {200, 409}
    assert {each.code for each in answers if each.status == 409} <= {"checkout_superseded"}
    pages = shop.stripe.all("checkout.session", mode="subscription", status="open")
    assert sum(1 for each in pages if each["client_reference_id"] == person.id) <= 1
    assert (await shop.begin(person, plan="pro")).status == 200


async def test_a_page_that_is_paid_meanwhile_409(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who pays on the first page while the second one opens has bought the first, and cannot pay the second."""
    person = await shop.app.register()
    first = await opened(shop, person, plan="pro")
    expire = shop.stripe.expire

    def paid_first(session_id: str) -> Thing:
        if session_id == first:
            shop.stripe.pay(first)
        return expire(session_id)

    monkeypatch.setattr(shop.stripe, "expire", paid_first)
    answer = await shop.begin(person, plan="team")
    assert (answer.status, answer.code) == (409, "already_subscribed")
    assert not [
        each for each in shop.stripe.all("checkout.session", status="open") if each["client_reference_id"] == person.id
    ]


@pytest.mark.parametrize("seed", range(2))
async def test_two_that_are_paid_all_the_same(shop: Shop, seed: int) -> None:
    """Told in any order and twice, with what comes of ending one: the first stays, the second is sent back, once."""
    order, person = random.Random(seed), await shop.app.register()
    one, two = paid_both(shop, await opened(shop, person, plan="pro"))
    events = shop.stripe.events * 2
    order.shuffle(events)
    for event in events:
        assert (await shop.tell(event)).status == 200
    later = shop.stripe.events * 2
    order.shuffle(later)
    for event in later:
        assert (await shop.tell(event)).status == 200
    await ended_well(shop, person, one, two)


async def test_an_outage_at_any_step(shop: Shop) -> None:
    """Stripe goes away after any number of answers: 503 until it is back, and then the same end."""
    person = await shop.app.register()
    one, two = paid_both(shop, await opened(shop, person, plan="pro"))
    news = next(each for each in shop.stripe.events if each["type"] == "customer.subscription.created")
    for answers in itertools.count():
        shop.stripe.answers_left = answers
        answer = await shop.tell(news)
        shop.stripe.answers_left = None
        if answer.status == 200:
            break
        assert (answer.status, answer.code) == (503, "billing_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert answers > 4
    await ended_well(shop, person, one, two)
    await shop.tell_all()
    await ended_well(shop, person, one, two)


async def test_money_that_comes_after_the_end(shop: Shop) -> None:
    """A transfer for the second one that arrives when that is over is sent back, once."""
    person = await shop.app.register()
    _, two = paid_both(shop, await opened(shop, person, plan="pro"))
    shop.stripe._invoice(two, paid=None)
    shop.stripe.find(two["latest_invoice"], "invoice")["billing_reason"] = "subscription_create"
    await shop.tell_all()
    assert (two["status"], shop.stripe.all("invoice_payment", invoice=two["latest_invoice"])) == ("canceled", [])
    shop.stripe.collect(two["id"])
    for _ in range(2):
        await shop.tell_all()
    assert sent_back(shop, two) == 3_000
    assert (await shop.credits(person))["balance"] == "20.000000"


async def test_the_one_that_stays_may_end(shop: Shop) -> None:
    """What was ended as a second one never counts, and a plan can be bought again."""
    person = await shop.app.register()
    one, two = paid_both(shop, await opened(shop, person, plan="pro"))
    await shop.tell_all()
    shop.stripe.cancel(one["id"])
    await shop.tell_all()
    assert (await shop.subscription(person))["status"] == "canceled"
    assert two["metadata"][INSTEAD] == one["id"]
    await opened(shop, person, plan="team", seats=2)


def _made(number: int, status: str = "active", reason: str | None = "subscription_create", **metadata: str) -> Thing:
    return {
        "id": f"sub_{number}",
        "created": number,
        "status": status,
        "metadata": {"formstate_account": "user_1", BOUGHT: "checkout"} | metadata,
        "latest_invoice": None if reason is None else {"id": f"in_{number}", "billing_reason": reason},
    }


@pytest.mark.parametrize(
    ("subscriptions", "ended"),
    [
        ([], {}),
        ([_made(1)], {}),
        ([_made(2), _made(1)], {"sub_2": "sub_1"}),
        ([_made(3), _made(2, "trialing"), _made(1, "past_due")], {"sub_2": "sub_1", "sub_3": "sub_1"}),
        ([_made(2), _made(1, "canceled")], {}),
        ([_made(2, reason="subscription_cycle"), _made(1)], {}),
        ([_made(2) | {"metadata": {"formstate_account": "user_1"}}, _made(1)], {}),
        ([_made(2) | {"metadata": {"formstate_account": "user_2", BOUGHT: "checkout"}}, _made(1)], {}),
        ([_made(2, **{INSTEAD: "sub_1"}), _made(1, "canceled")], {"sub_2": "sub_1"}),
        ([_made(2, "canceled", **{INSTEAD: "sub_1"}), _made(1)], {}),
    ],
)
async def test_which_are_second(subscriptions: list[Thing], ended: dict[str, str]) -> None:
    """Bought beside a living one, and not renewed yet; what somebody made by hand or has renewed is left alone."""
    for order in itertools.permutations(subscriptions):
        assert {each["id"]: stays for each, stays in seconds(order, "user_1")} == ended
        counting = {each["id"] for each in that_count(order, "user_1")}
        assert not counting & set(ended)
        assert all(
            each["id"] in counting for each in order if INSTEAD not in each["metadata"] and each["id"] not in ended
        )
