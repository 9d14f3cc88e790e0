"""What Stripe's objects mean here: pure functions from objects, as Stripe shows them now, to commands.

A payment's id is that of its payment intent, which stays the same from checkout to dispute; of a checkout that cost
nothing, the session's. Credits are those of the top-up in the plan file whose `stripe_price` the line has, as often as
it was bought; a line with another price is worth its subtotal, one credit for one US dollar.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct

from api.account_plan import terms_of
from api.billing.provider import Told
from api.errors import ApiError
from api.ids import derived
from api.plans import Plan, Plans
from domain.account.paid_periods import NEAR
from domain.account.payment import DisputeStatus, PaidPeriod
from domain.account.payments import ConfirmPayment, DisputePayment, RefundPayment
from domain.account.subscription import ConfirmSubscription, SubscriptionStatus, check
from domain.account.subscription_period import PLAN_PRIORITY
from domain.account.subscription_period import SOURCE as PLAN
from domain.instant import SECOND, Instant
from domain.money import MICRO, MicroCredits

ACCOUNT = "formstate_account"
"""The metadata by which an object is known to be ours, and whose it is."""
MICRO_PER_CENT = MICRO // 100
CURRENCY = "usd"
NEAR_S = NEAR // SECOND
"""How far the ends of one period may lie apart on an invoice and its subscription."""

_DISPUTES: Mapping[str, DisputeStatus] = {
    "won": "won",
    "prevented": "won",
    # Inquiries: the money has not moved.
    "warning_needs_response": "won",
    "warning_under_review": "won",
    "warning_closed": "won",
    "lost": "lost",
}
"""All others are open: the money is away until the dispute is decided."""
_STATUSES: Mapping[str, SubscriptionStatus] = {
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    # Stripe has given up collecting, but the subscription goes on: it is active once an open invoice is paid.
    "unpaid": "past_due",
    # The trial has ended without a card: it goes on once there is one, as a trial that ends here unpaid.
    "paused": "past_due",
    "canceled": "canceled",
}
"""Those that are missing were never paid: there is nothing to tell of them."""
_RANK: Mapping[SubscriptionStatus, int] = {"active": 3, "trialing": 3, "past_due": 2, "canceled": 1}


_log = structlog.get_logger()


class StripePurchase(Struct, frozen=True, kw_only=True):
    """What was sold, its payment intent with `latest_charge`, and its disputes; as of `asked_at`."""

    sold: Mapping[str, Any]
    """A checkout session with `line_items`, or an invoice with its `lines`."""
    payment: Mapping[str, Any] | None
    disputes: Sequence[Mapping[str, Any]]
    asked_at: Instant
    """Our time before the first of them was asked for."""
    news: str
    """The event's id, or whatever else made us ask: refunds and disputes are told once for it."""
    about_refund: bool = False
    """A refund was made, or has failed: it is told also that nothing was refunded."""


def account_of(thing: Mapping[str, Any]) -> str | None:
    """The account that the object is of; `None` for what somebody else sells with the same Stripe account."""
    found = (thing.get("metadata") or {}).get(ACCOUNT)
    return found if isinstance(found, str) and found else None


def purchase_facts(purchase: StripePurchase, plans: Plans) -> Sequence[Told]:
    """The payment, what was refunded of it, and its disputes; nothing while it is unpaid or is not ours."""
    session, payment = purchase.sold, purchase.payment
    account = account_of(session)
    if account is None or session.get("payment_status") not in ("paid", "no_payment_required"):
        return ()
    credits = credits_of(session, plans)
    if credits is None:
        return ()
    payment_id: str = session["id"] if payment is None else payment["id"]
    confirmed = ConfirmPayment(
        payment_id=payment_id,
        grant_id=f"grant_{derived('payment', payment_id).replace('-', '')}",
        credits=credits,
        paid_cents=0 if payment is None else payment["amount_received"],
        occurred_at=session["created"] * SECOND,
        reason=_title(session, plans),
    )
    told = [Told(account_id=account, command=confirmed, command_id=derived("payment.confirm", payment_id))]
    if payment is not None:
        told += _gone(account, payment, purchase)
    return told


def invoice_facts(purchase: StripePurchase, plans: Plans) -> Sequence[Told]:
    """A subscription's payment with its period, and what of it has left again.

    The credits themselves come with the subscription. They are taken back as the invoice's lines cost them, so that a
    payment for a part of a period takes a part of its credits.
    """
    invoice, payment = purchase.sold, purchase.payment
    about = (invoice.get("parent") or {}).get("subscription_details") or {}
    account = account_of(about)
    if account is None or payment is None or invoice.get("currency") != CURRENCY or not payment["amount_received"]:
        return ()
    sold = sold_lines(invoice, plans)
    ends_at = max((line["period"]["end"] for line, _ in sold), default=0)
    credits = billed_credits(sold, ends_at)
    if credits <= 0:
        return ()
    period = _paid_period(sold)
    confirmed = ConfirmPayment(
        payment_id=payment["id"],
        grant_id=f"{PLAN}_{period.since}_{credits}",
        credits=credits,
        paid_cents=payment["amount_received"],
        occurred_at=invoice["created"] * SECOND,
        priority=PLAN_PRIORITY,
        expires_at=period.until,
        source=PLAN,
        granted=False,
        period=period,
    )
    told = Told(account_id=account, command=confirmed, command_id=derived("payment.confirm", payment["id"]))
    return [told, *_gone(account, payment, purchase)]


def sold_lines(invoice: Mapping[str, Any], plans: Plans) -> Sequence[tuple[Mapping[str, Any], Plan]]:
    """The invoice's lines that are of plans with a price."""
    lines = [(line, plan_with(plans, priced(line))) for line in invoice["lines"]["data"]]
    return [(line, plan) for line, plan in lines if plan is not None and plan.price]


def billed_credits(sold: Sequence[tuple[Mapping[str, Any], Plan]], ends_at: int) -> MicroCredits:
    """What lines stand for of the period that ends then (Unix seconds), as they cost it.

    A change in a period's midst has two: what is left of it with the new plan, and, below zero, with the old one. What
    is billed afterwards, for a period that is over, has granted nothing.
    """
    return sum(
        plan.monthly_credits * line["amount"] * MICRO_PER_CENT // (plan.price or 1)
        for line, plan in sold
        if abs(line["period"]["end"] - ends_at) <= NEAR_S
    )


def _paid_period(sold: Sequence[tuple[Mapping[str, Any], Plan]]) -> PaidPeriod:
    """Of the invoice's latest line, and the most that a plan on it grants for a whole period."""
    period = max((line["period"] for line, _ in sold), key=lambda each: each["end"])
    entitled = max(plan.credits_for(line.get("quantity")) for line, plan in sold if line["amount"] > 0)
    return PaidPeriod(since=period["start"] * SECOND, until=period["end"] * SECOND, entitled=entitled)


def unsold_facts(purchase: StripePurchase) -> Sequence[Told]:
    """What has left of a payment that bought nothing here: it is on record, and takes nothing back."""
    account = account_of((purchase.sold.get("parent") or {}).get("subscription_details") or {})
    return () if account is None or purchase.payment is None else _gone(account, purchase.payment, purchase)


def subscription_of(invoice: Mapping[str, Any]) -> str | None:
    """The subscription that an invoice is of, if it is of one."""
    found = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription")
    return found if isinstance(found, str) else None


def priced(line: Mapping[str, Any]) -> str:
    """The price of an invoice's line."""
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    return str(price.get("id") if isinstance(price, Mapping) else price)


def _gone(account: str, payment: Mapping[str, Any], purchase: StripePurchase) -> Sequence[Told]:
    """What of the money has left again, or had for a time."""
    payment_id, charge = payment["id"], payment.get("latest_charge")
    told = []
    if isinstance(charge, Mapping) and (charge["amount_refunded"] > 0 or purchase.about_refund):
        refund = RefundPayment(
            payment_id=payment_id, refunded_cents=charge["amount_refunded"], occurred_at=purchase.asked_at
        )
        told.append(
            Told(account_id=account, command=refund, command_id=derived("payment.refund", payment_id, purchase.news))
        )
    for each in purchase.disputes:
        dispute = DisputePayment(
            payment_id=payment_id,
            dispute_id=each["id"],
            status=_DISPUTES.get(each["status"], "open"),
            amount_cents=each["amount"],
            occurred_at=purchase.asked_at,
        )
        told.append(
            Told(account_id=account, command=dispute, command_id=derived("payment.dispute", each["id"], purchase.news))
        )
    return told


def credits_of(session: Mapping[str, Any], plans: Plans) -> MicroCredits | None:
    """What the session's lines are worth; `None`, and a line in the log, where that cannot be told."""
    lines = session["line_items"]
    if session.get("currency") != CURRENCY or lines.get("has_more"):
        _log.error("payment_not_granted", session=session["id"], currency=session.get("currency"))
        return None
    packs = {each.stripe_price: each for each in plans.top_ups.values() if each.stripe_price is not None}
    total = 0
    for line in lines["data"]:
        pack = packs.get(_price_of(line))
        total += line["amount_subtotal"] * MICRO_PER_CENT if pack is None else pack.credits * (line["quantity"] or 1)
    if total <= 0:
        _log.error("payment_not_granted", session=session["id"], reason="worth nothing")
        return None
    return total


def _price_of(line: Mapping[str, Any]) -> str:
    return str((line.get("price") or {}).get("id"))


def _title(session: Mapping[str, Any], plans: Plans) -> str:
    prices = [_price_of(line) for line in session["line_items"]["data"]]
    return ", ".join(each.title for each in plans.top_ups.values() if each.stripe_price in prices) or "Top-up"


def in_force(subscriptions: Sequence[Mapping[str, Any]], account: str) -> Mapping[str, Any] | None:
    """The one of a customer's subscriptions that counts: the best that is ours and of the account, then the newest.

    So late news of one that has ended say nothing against the one that came after it.
    """
    ours = [each for each in subscriptions if account_of(each) == account and each["status"] in _STATUSES]
    return max(ours, key=lambda each: (_RANK[_STATUSES[each["status"]]], each["created"], each["id"]), default=None)


def subscription_fact(
    subscription: Mapping[str, Any],
    account: str,
    plans: Plans,
    *,
    asked_at: Instant,
    news: str,
    credits_paid: MicroCredits | None = None,
) -> Told:
    """How the account's subscription stands. 409 `price_unknown` where no plan has its price.

    `Invalid` where it cannot be right, such as more seats than the plan has.
    """
    item = subscription["items"]["data"][0]
    plan = plan_with(plans, item["price"]["id"])
    if plan is None:
        _log.error("subscription_price_unknown", subscription=subscription["id"], price=item["price"]["id"])
        raise ApiError("price_unknown")
    reference = f"{subscription['id']}/{news}"
    command = ConfirmSubscription(
        plan=plan.id,
        status=_STATUSES[subscription["status"]],
        terms=terms_of(plan),
        occurred_at=asked_at,
        reference=reference,
        period_start=item["current_period_start"] * SECOND,
        period_end=item["current_period_end"] * SECOND,
        seats=item["quantity"] if plan.per_seat else None,
        renews_by_itself=False,
        paid=is_paid(subscription),
        credits_paid=credits_paid,
    )
    check(command)
    return Told(
        account_id=account, command=command, command_id=derived("subscription.confirm", account, f"stripe:{reference}")
    )


def is_paid(subscription: Mapping[str, Any]) -> bool:
    """Whether the running period is: Stripe begins it, and collects for it about an hour later."""
    invoice = subscription.get("latest_invoice")
    return not isinstance(invoice, Mapping) or invoice["status"] == "paid"


def plan_with(plans: Plans, price: str) -> Plan | None:
    """The plan that Stripe sells at that price."""
    return next((plan for plan in plans.values() if plan.stripe_price == price), None)
