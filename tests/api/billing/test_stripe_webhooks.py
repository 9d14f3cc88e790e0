"""Stripe's webhooks over HTTP: believed by their signature, looked up, each once, in any order."""

import random
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import pytest
import stripe as official
from hypothesis import given
from hypothesis import strategies as st

from api.billing.stripe_facts import ACCOUNT
from api.billing.stripe_webhooks import TOLERANCE_S, hint_of, verify
from api.errors import ApiError
from devnet.stripe.delivery import signed
from devnet.stripe.shop import Thing
from domain.account.holds import PlaceHold, SettleHold
from domain.account.usage import Usage
from domain.instant import MINUTE
from domain.money import MICRO
from tests.api.billing.paying import PAGES, WEBHOOK, Shop
from tests.api.running import Person
from tests.domain.account.asking import ONE_EACH

SECRET = "whsec_0123456789abcdef"
NOW_S = 1_800_000_000
EVENT: Thing = {"id": "evt_1", "type": "charge.refunded", "data": {"object": {"payment_intent": "pi_1"}}}


@pytest.fixture(autouse=True)
def quiet(shop: Shop) -> None:
    """Events of other tests are none of this one's."""
    shop.stripe.events.clear()


pytestmark = pytest.mark.asyncio(loop_scope="module")


def _refusal(body: bytes, header: str | None, *secrets: str, now_s: int = NOW_S) -> str | None:
    try:
        verify(body, header, secrets, now_s)
    except ApiError as error:
        return error.code
    return None


async def test_a_signature_of_any_secret_is_good() -> None:
    """While a secret is rotated both are good, and the official library agrees with our signatures."""
    body, header = signed(EVENT, SECRET, at_s=NOW_S)
    assert _refusal(body, header, "whsec_another", SECRET) is None
    official.WebhookSignature.verify_header(body, header, SECRET, None)


async def test_a_signature_that_is_not_good() -> None:
    """Another secret, another body, another time, none at all, and no secret of ours: none of it is believed."""
    body, header = signed(EVENT, SECRET, at_s=NOW_S)
    assert _refusal(body, header, "whsec_another") == "invalid_signature"
    assert _refusal(body, header) == "invalid_signature"
    assert _refusal(body + b" ", header, SECRET) == "invalid_signature"
    for now_s in (NOW_S + TOLERANCE_S + 1, NOW_S - TOLERANCE_S - 1):
        assert _refusal(body, header, SECRET, now_s=now_s) == "invalid_signature"
    digest = header.partition("v1=")[2]
    for wrong in (None, "", "t=", f"v1={digest}", f"t=x,v1={digest}", f"t={NOW_S},v0={digest}", f"t={NOW_S},v1=é"):
        assert _refusal(body, wrong, SECRET) == "invalid_signature"


@given(st.binary(max_size=200), st.text(max_size=200))
async def test_nothing_that_is_sent_is_a_fault_of_ours(body: bytes, header: str) -> None:
    """Any bytes and any header are refused, and any signed bytes are an event or are refused."""
    assert _refusal(body, header, SECRET) == "invalid_signature"
    with suppress(ApiError):
        assert hint_of(body) is None


@pytest.mark.parametrize(
    ("kind", "about", "expected"),
    [
        ("checkout.session.completed", {"id": "cs_1"}, ("session", "cs_1")),
        ("payment_intent.succeeded", {"id": "pi_1"}, ("payment", "pi_1")),
        ("charge.refunded", {"id": "ch_1", "payment_intent": "pi_1"}, ("payment", "pi_1")),
        ("refund.failed", {"id": "re_1", "payment_intent": "pi_1"}, ("payment", "pi_1")),
        ("charge.dispute.closed", {"id": "du_1", "payment_intent": "pi_1"}, ("payment", "pi_1")),
        ("customer.subscription.deleted", {"id": "sub_1"}, ("subscription", "sub_1")),
        ("invoice.payment_failed", {"id": "in_1"}, ("invoice", "in_1")),
        ("charge.refunded", {"id": "ch_1", "payment_intent": None}, None),
        ("charge.refunded", {"id": "ch_1", "payment_intent": 7}, None),
        ("product.created", {"id": "prod_1"}, None),
    ],
)
async def test_what_an_event_hints_at(kind: str, about: Thing, expected: tuple[str, str] | None) -> None:
    """Of an event only the id of what it is about is taken."""
    body, _ = signed({"id": "evt_1", "type": kind, "data": {"object": about}}, SECRET)
    hint = hint_of(body)
    assert (None if hint is None else (hint.subject, hint.id)) == expected


async def test_an_event_of_the_other_mode_is_nothing(shop: Shop) -> None:
    """An endpoint of live mode that has the secret of a test one, or the other way round, changes nothing here."""
    person = await shop.app.register()
    await shop.bought(person, top_up="bonus")
    asked = len(shop.stripe.asked)
    for event in shop.stripe.events:
        assert (await shop.tell(event | {"livemode": True})).json == {"received": True, "told": 0}
    assert len(shop.stripe.asked) == asked
    await shop.tell_all()
    assert (await shop.credits(person))["balance"] == "110.000000"
    body, _ = signed(shop.stripe.events[-1] | {"livemode": True}, SECRET)
    assert hint_of(body, livemode=True) is not None


async def test_a_large_event_200(shop: Shop) -> None:
    """Events of 500 kB are read whole, and what is in them beside ids plays no part."""
    person = await shop.app.register()
    await shop.bought(person, top_up="bonus")
    event = shop.stripe.events[-1]
    about = event["data"]["object"] | {"amount_total": 10**15, "description": "x" * 500_000}
    assert (await shop.tell(event | {"data": {"object": about}})).status == 200
    assert (await shop.credits(person))["balance"] == "110.000000"


async def test_an_event_of_nothing_here_200(shop: Shop) -> None:
    """What concerns nothing here is taken, so that Stripe stops sending it."""
    for event in (EVENT, {"id": "evt_2", "type": "product.created", "data": {"object": {"id": "prod_1"}}}):
        answer = await shop.tell(event)
        assert (answer.status, answer.json) == (200, {"received": True, "told": 0})


async def test_a_wrong_signature_400(shop: Shop) -> None:
    """Nothing is looked up for what nobody signed."""
    before = len(shop.stripe.asked)
    body, _ = signed(EVENT, SECRET)
    for header in ("", "t=1,v1=0", signed(EVENT, "whsec_another")[1]):
        answer = await shop.app.post(WEBHOOK, body, {"Stripe-Signature": header})
        assert (answer.status, answer.code) == (400, "invalid_signature")
    answer = await shop.app.post(WEBHOOK, b"x" * 600_000, {"Stripe-Signature": ""})
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert len(shop.stripe.asked) == before


async def test_refunds_and_disputes(shop: Shop) -> None:
    """Each step of a purchase's life, told as it happens and twice, moves exactly what it is worth."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    payment = session["payment_intent"]
    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "110.000000"),
        (lambda: shop.stripe.refund(payment, 3_333), "73.337000"),
        (lambda: shop.stripe.refund(payment, 1_667), "55.000000"),
        (lambda: shop.stripe.dispute(payment, 5_000), "0.000000"),
        (lambda: shop.stripe.close_dispute(shop.stripe.all("dispute")[0]["id"], "won"), "55.000000"),
        (lambda: shop.stripe.fail_refund(shop.stripe.all("refund")[-1]["id"]), "91.663000"),
    ]
    for step, balance in steps:
        step()
        for event in shop.stripe.events[-2:]:
            for _ in range(2):
                assert (await shop.tell(event)).status == 200
        assert (await shop.credits(person))["balance"] == balance
    kinds = await shop.app.ask("GET", "/billing/credits/transactions", token=person.token)
    assert [each["kind"] for each in reversed(kinds.json["data"])] == [
        "grant",
        "claw_back",
        "claw_back",
        "claw_back",
        "give_back",
        "give_back",
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_events_of_a_purchase_in_any_order(shop: Shop, seed: int) -> None:
    """All events of one purchase, shuffled and twice each, some while it still goes on: one end state."""
    order = random.Random(seed)
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    payment = session["payment_intent"]
    early = order.choice(shop.stripe.events)
    await shop.tell(early)
    shop.stripe.refund(payment, 2_000)
    dispute = shop.stripe.dispute(payment, 8_000)
    await shop.tell(order.choice(shop.stripe.events))
    shop.stripe.refund(payment, 1_000)
    shop.stripe.close_dispute(dispute["id"], "won")
    events = shop.stripe.events * 2
    order.shuffle(events)
    for event in events:
        assert (await shop.tell(event)).status == 200
    credits = await shop.credits(person)
    assert (credits["balance"], credits["debt"]) == ("77.000000", "0.000000")


async def _subscribed(shop: Shop) -> tuple[Person, str]:
    person = await shop.app.register()
    session = await shop.bought(person, plan="pro")
    await shop.tell_all()
    return person, session["subscription"]


@pytest.mark.parametrize("seed", range(3))
async def test_events_of_a_subscription_in_any_order(shop: Shop, seed: int) -> None:
    """Renewed, failed, changed, ended: late news never bring back what was."""
    person, subscription = await _subscribed(shop)
    assert (await shop.subscription(person))["status"] == "active"
    shop.stripe.renew(subscription)
    shop.stripe.renew(subscription, paid=False)
    await shop.tell(shop.stripe.events[-1])
    assert (await shop.subscription(person))["status"] == "past_due"
    shop.stripe.change(subscription, price="price_team", quantity=4)
    shop.stripe.cancel(subscription)
    events = shop.stripe.events * 2
    random.Random(seed).shuffle(events)
    for event in events:
        assert (await shop.tell(event)).status == 200
    found = await shop.subscription(person)
    assert (found["plan"], found["status"]) == ("team", "canceled")


async def test_a_period_that_is_still_to_be_paid_is_granted_nothing(shop: Shop) -> None:
    """Stripe begins a period and collects an hour later: its credits come with the money, once."""
    person, subscription = await _subscribed(shop)
    before = await shop.credits(person)
    shop.stripe.renew(subscription, paid=None)
    await shop.tell_all()
    assert (await shop.subscription(person))["status"] == "active"
    assert (await shop.credits(person))["balance"] == before["balance"] == "20.000000"
    shop.stripe.collect(subscription)
    for _ in range(2):
        await shop.tell_all()
    assert (await shop.credits(person))["balance"] == "40.000000"


@pytest.mark.parametrize("seed", range(3))
async def test_news_that_come_after_the_end(shop: Shop, seed: int) -> None:
    """Bought, refunded in part and canceled before anybody heard of it: as if all had been told in time."""
    order, person = random.Random(seed), await shop.app.register()
    session = await shop.bought(person, plan="pro")
    (paid,) = shop.stripe.all("invoice_payment", invoice=shop.stripe.all("invoice")[0]["id"])
    shop.stripe.refund(paid["payment_intent"], 500)
    shop.stripe.cancel(session["subscription"])
    events = shop.stripe.events * 2
    order.shuffle(events)
    for event in events:
        assert (await shop.tell(event)).status == 200
    found, credits = await shop.subscription(person), await shop.credits(person)
    assert (found["plan"], found["status"]) == ("pro", "canceled")
    assert (credits["balance"], credits["debt"]) == ("15.000000", "0.000000")


async def test_what_was_told_in_time_is_not_told_again(shop: Shop) -> None:
    """The end of a subscription that is known is one piece of news, and grants nothing."""
    person, subscription = await _subscribed(shop)
    shop.stripe.events.clear()
    shop.stripe.cancel(subscription)
    assert (await shop.tell(shop.stripe.events[-1])).json["told"] == 1
    assert (await shop.credits(person))["balance"] == "20.000000"


async def test_late_news_of_an_ended_subscription(shop: Shop) -> None:
    """What is told of the one that has ended says nothing against the one that came after it."""
    person, first = await _subscribed(shop)
    shop.stripe.cancel(first)
    ended = shop.stripe.events[-1]
    await shop.tell(ended)
    assert (await shop.subscription(person))["status"] == "canceled"
    await shop.bought(person, plan="team", seats=2)
    await shop.tell_all()
    await shop.tell({**ended, "id": "evt_again"})
    found = await shop.subscription(person)
    assert (found["plan"], found["status"], found["seats"]) == ("team", "active", 2)


async def test_a_price_that_no_plan_has_409(shop: Shop) -> None:
    """The operator forgot it in the plan file: Stripe sends the event again until it is there."""
    person, subscription = await _subscribed(shop)
    shop.stripe.change(subscription, price="price_plain")
    answer = await shop.tell(shop.stripe.events[-1])
    assert (answer.status, answer.code) == (409, "price_unknown")
    assert (await shop.subscription(person))["plan"] == "pro"


async def test_what_somebody_else_sells_is_nothing_here(shop: Shop) -> None:
    """Objects without our metadata in the same Stripe account are taken and left alone."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    session["metadata"] = {}
    await shop.tell_all()
    assert (await shop.credits(person))["balance"] == "0.000000"


async def test_a_plan_that_is_refunded_loses_its_credits(shop: Shop) -> None:
    """A part of the month's payment takes that part of the month's credits; a dispute of it takes the rest."""
    person, subscription = await _subscribed(shop)
    full = await shop.credits(person)
    assert (full["balance"], full["grants"][0]["source"]) == ("20.000000", "plan")
    invoice = shop.stripe.all("invoice")[0]
    assert invoice["parent"]["subscription_details"]["subscription"] == subscription
    payment = next(each for each in shop.stripe.all("invoice_payment") if each["invoice"] == invoice["id"])
    shop.stripe.refund(payment["payment_intent"], 500)
    await shop.tell(shop.stripe.events[-1])
    assert [each["remaining"] for each in (await shop.credits(person))["grants"]] == ["15.000000"]
    dispute = shop.stripe.dispute(payment["payment_intent"], 1_500)
    await shop.tell(shop.stripe.events[-1])
    assert (await shop.credits(person))["balance"] == "0.000000"
    shop.stripe.close_dispute(dispute["id"], "won")
    await shop.tell_all()
    back = await shop.credits(person)
    assert (back["balance"], back["debt"], back["grants"][0]["source"]) == ("15.000000", "0.000000", "plan")
    assert back["grants"][0]["expires_at"] == full["grants"][0]["expires_at"]


async def test_a_plan_that_was_paid_twice_keeps_what_one_payment_stands_for(shop: Shop) -> None:
    """A second subscription that is made by hand: its period is granted once, and a refund of one takes nothing."""
    person = await shop.app.register()
    session = await shop.bought(person, plan="pro")
    shop.stripe.find(session["subscription"], "subscription")["created"] -= 60
    metadata = {ACCOUNT: person.id}
    by_hand = {"mode": "subscription", "customer": session["customer"], "line_items": [{"price": "price_pro"}]}
    shop.stripe.pay(shop.stripe.session(by_hand | PAGES | {"subscription_data": {"metadata": metadata}})["id"])
    await shop.tell_all()
    paid = [each["payment_intent"] for each in reversed(shop.stripe.all("invoice_payment")[:2])]
    assert Decimal(20) <= Decimal((await shop.credits(person))["balance"]) < Decimal("20.01")
    for payment, cents, least in ((paid[1], 2_000, "20"), (paid[0], 500, "15"), (paid[0], 1_500, "0")):
        shop.stripe.refund(payment, cents)
        await shop.tell(shop.stripe.events[-1])
        assert Decimal(least) <= Decimal((await shop.credits(person))["balance"]) < Decimal(least) + Decimal("0.01")
    shown = (await shop.app.ask("GET", "/billing/payments", token=person.token)).json["data"]
    assert {each["id"]: (each["status"], each["kind"], each["paid"], each["refunded"]) for each in shown} == {
        paid[0]: ("refunded", "plan", "20.00", "20.00"),
        paid[1]: ("refunded", "plan", "20.00", "20.00"),
    }
    assert sum(Decimal(each["taken_back"]) for each in shown) >= Decimal("19.99")


async def test_another_installation_is_left_alone(shop: Shop) -> None:
    """Two installations may share a Stripe account: what is of no account here is taken, and grants nothing."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    for account in ("user_00000000000000000000000000000000", "nobody", "x" * 500):
        session["metadata"] = {ACCOUNT: account}
        for event in shop.stripe.events:
            answer = await shop.tell(event)
            assert (answer.status, answer.json["told"]) == (200, 0)


async def test_spent_credits_that_are_disputed_are_debt(shop: Shop) -> None:
    """Shown apart; paid use is refused meanwhile, and the next purchase repays it first."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    await shop.tell_all()
    stream, at = f"account:{person.id}", shop.app.services.clock()
    hold = PlaceHold(
        hold_id=f"hold_{person.id}", amount=100 * MICRO, amount_min=1, model="m", price=ONE_EACH, expires_at=at + MINUTE
    )
    await shop.app.command(stream, hold)
    used = Usage(source="provider", output=100 * MICRO)
    await shop.app.command(stream, SettleHold(hold_id=hold.hold_id, usage=used))
    shop.stripe.dispute(session["payment_intent"])
    await shop.tell(shop.stripe.events[-1])
    credits = await shop.credits(person)
    assert (credits["balance"], credits["debt"]) == ("0.000000", "100.000000")
    asked = {"model": "fs-basic", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    refused = await shop.app.ask("POST", "/v1/chat/completions", asked, token=person.token)
    assert (refused.status, refused.code) == (402, "debt_outstanding")
    await shop.bought(person, top_up="bonus")
    await shop.tell_all()
    credits = await shop.credits(person)
    assert (credits["balance"], credits["debt"]) == ("10.000000", "0.000000")
