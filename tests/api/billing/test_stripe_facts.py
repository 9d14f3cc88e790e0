"""From Stripe's objects to commands: exact amounts, and one end state for every order in which they are told."""

import itertools
from collections.abc import Callable, Sequence

import pytest
from msgspec import json

from api.billing.provider import Told
from api.billing.stripe_facts import ACCOUNT, StripePurchase, credits_of, in_force, purchase_facts, subscription_fact
from devnet.stripe import DevStripe
from devnet.stripe.shop import Thing, public
from domain.account.payments import ConfirmPayment
from domain.account.subscription import ConfirmSubscription
from domain.instant import SECOND, Instant
from domain.money import MICRO
from tests.api.billing.paying import PAGES, PRICES, sold_plans
from tests.domain.account.asking import account
from tests.domain.scenario import T0

PLANS = sold_plans()
OWNER = "user_1"


def bought(shop: DevStripe, price: str, *, mode: str = "payment", quantity: int = 1) -> Thing:
    """A paid session of the account."""
    customer = shop.customer({})
    metadata = {ACCOUNT: OWNER}
    params = {
        "mode": mode,
        "customer": customer["id"],
        "metadata": metadata,
        "subscription_data": {"metadata": metadata},
        "line_items": [{"price": price, "quantity": quantity}],
    }
    return shop.pay(shop.session(params | PAGES)["id"])


def facts(
    shop: DevStripe, session: Thing, asked_at: Instant, *, news: str = "evt", refund: bool = True
) -> Sequence[Told]:
    """What is told when everything is asked for now."""
    payment = shop.find(session["payment_intent"], "payment_intent")
    purchase = StripePurchase(
        sold=public(session, ["line_items"]),
        payment=public(payment) | {"latest_charge": public(shop.charge_of(payment["id"]))},
        disputes=[public(each) for each in shop.all("dispute", payment_intent=payment["id"])],
        asked_at=asked_at,
        news=news,
        about_refund=refund,
    )
    return purchase_facts(purchase, PLANS)


@pytest.mark.parametrize(
    ("price", "quantity", "credits"),
    [("price_pack", 1, 110 * MICRO), ("price_pack", 3, 330 * MICRO), ("price_plain", 1, 12_340_000)],
)
def test_credits_are_the_packs_or_the_subtotal(price: str, quantity: int, credits: int) -> None:
    """A known price is its top-up, as often as it was bought; any other is a credit for each dollar, to the cent."""
    session = bought(DevStripe(PRICES), price, quantity=quantity)
    assert credits_of(session, PLANS) == credits


def test_another_currency_grants_nothing() -> None:
    """Only dollars are credits."""
    session = bought(DevStripe(PRICES), "price_euro")
    assert credits_of(session, PLANS) is None


def test_more_lines_than_were_shown_grant_nothing() -> None:
    """A part of a purchase is not taken for the whole."""
    session = bought(DevStripe(PRICES), "price_pack")
    session["line_items"]["has_more"] = True
    assert credits_of(session, PLANS) is None


def test_the_same_payment_has_the_same_command() -> None:
    """Whoever asks, and however often: the purchase is one command, its refunds one for each piece of news."""
    shop = DevStripe(PRICES)
    session = bought(shop, "price_pack")
    one, other = facts(shop, session, T0, news="evt_1"), facts(shop, session, T0 + SECOND, news="evt_2")
    assert one[0] == other[0]
    assert isinstance(one[0].command, ConfirmPayment)
    assert one[1].command_id != other[1].command_id
    assert one[1].command_id == facts(shop, session, T0, news="evt_1")[1].command_id


def test_a_free_session_is_a_payment_by_itself() -> None:
    """What costs nothing has no payment intent; it is known by its session, and cannot be refunded."""
    shop = DevStripe(PRICES)
    session = bought(shop, "price_pack")
    purchase = StripePurchase(
        sold=session | {"payment_status": "no_payment_required"}, payment=None, disputes=(), asked_at=T0, news="e"
    )
    (told,) = purchase_facts(purchase, PLANS)
    assert isinstance(told.command, ConfirmPayment)
    assert (told.command.payment_id, told.command.paid_cents) == (session["id"], 0)


@pytest.mark.parametrize("won", [True, False])
def test_news_of_a_purchase_in_every_order_and_twice_each(won: bool) -> None:
    """The purchase as it was asked for at each of its stages, told in all orders, stale ones last as well as first."""
    shop = DevStripe(PRICES)
    session = bought(shop, "price_pack")
    payment = session["payment_intent"]
    steps: Sequence[Callable[[], object]] = (
        lambda: None,
        lambda: shop.refund(payment, 2_000),
        lambda: shop.refund(payment, 1_000),
        lambda: shop.dispute(payment, 7_000),
        lambda: shop.close_dispute(shop.all("dispute")[0]["id"], "won" if won else "lost"),
    )
    stages = []
    for number, step in enumerate(steps):
        step()
        stages.append(facts(shop, session, T0 + number * SECOND, news=f"evt_{number}"))
    ends = set()
    for order in itertools.permutations(stages):
        scenario = account()
        for told in (*(each for each in order for _ in range(2)), *order):
            for each in told:
                scenario.when(each.command)
        known = scenario.state.credits
        ends.add((known.balance, known.debt, json.encode(scenario.state.payments.by_id, order="sorted")))
    ((balance, debt, _),) = ends
    assert (balance, debt) == (77 * MICRO if won else 0, 0)


def test_the_subscription_that_counts() -> None:
    """The best of the account's, then the newest: neither one that has ended later, nor another account's."""

    def made(name: str, status: str, created: int, owner: str = OWNER) -> Thing:
        return {"id": name, "status": status, "created": created, "metadata": {ACCOUNT: owner}}

    running, late = made("sub_1", "active", 1), made("sub_2", "past_due", 2)
    ended, unpaid = made("sub_3", "canceled", 3), made("sub_4", "incomplete", 4)
    other = made("sub_5", "active", 5, "user_2")
    assert in_force([running, late, ended, unpaid, other], OWNER) == running
    assert in_force([ended, late], OWNER) == late
    assert in_force([running, made("sub_6", "trialing", 6)], OWNER) == made("sub_6", "trialing", 6)
    assert in_force([unpaid, other, {**running, "metadata": None}], OWNER) is None


@pytest.mark.parametrize(("theirs", "ours"), [("unpaid", "past_due"), ("paused", "past_due"), ("canceled", "canceled")])
def test_what_is_not_paid_but_goes_on_is_past_due(theirs: str, ours: str) -> None:
    """Stripe has given up collecting, or a trial has ended without a card: a payment makes it active again."""
    shop = DevStripe(PRICES)
    name = bought(shop, "price_pro", mode="subscription")["subscription"]
    subscription = public(shop.find(name, "subscription")) | {"status": theirs}
    command = subscription_fact(subscription, OWNER, PLANS, asked_at=T0, news="evt").command
    assert isinstance(command, ConfirmSubscription)
    assert command.status == ours
    counts = in_force([subscription, {**subscription, "id": "sub_2", "status": "active", "created": 1}], OWNER)
    assert counts is not None
    assert counts["status"] == "active"


def test_news_of_a_subscription_in_every_order_and_twice_each() -> None:
    """Created, renewed, failed, changed, ended: as it was asked for at each stage, told in all orders."""
    shop = DevStripe(PRICES)
    name = bought(shop, "price_pro", mode="subscription")["subscription"]
    steps: Sequence[Callable[[], object]] = (
        lambda: None,
        lambda: shop.renew(name),
        lambda: shop.renew(name, paid=False),
        lambda: shop.change(name, price="price_team", quantity=3),
        lambda: shop.cancel(name),
    )
    stages = []
    for number, step in enumerate(steps):
        step()
        counts = in_force([public(each) for each in shop.all("subscription")], OWNER)
        assert counts is not None
        stages.append(subscription_fact(counts, OWNER, PLANS, asked_at=T0 + number * SECOND, news=f"evt_{number}"))
    ends = set()
    for order in itertools.permutations(stages):
        scenario = account()
        for told in (*(each for each in order for _ in range(2)), *order):
            scenario.when(told.command)
        known = scenario.state.subscription
        ends.add((known.plan, known.status, known.seats, known.period_start, known.period_end))
    assert len(ends) == 1
    assert next(iter(ends))[:3] == ("team", "canceled", 3)
