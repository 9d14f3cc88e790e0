"""Payments of an account: what was paid for what, and how much of it has left again."""

from typing import Literal

from msgspec import Struct

from api.call import Call
from api.pagination import PageQuery, list_fields
from api.rfc3339 import format_instant, maybe_instant
from api.route import Route, needs
from domain.account.payment import Payment
from domain.account.subscription_period import SOURCE as PLAN
from domain.money import format_credits
from projections.payments import PaymentView, list_payments


class PaymentShown(Struct, frozen=True, kw_only=True):
    """A payment in US dollars. Of one whose purchase is not known yet only what has left is shown."""

    id: str
    """Of the provider: at Stripe the payment intent."""
    kind: Literal["top_up", "plan"] | None
    status: Literal["paid", "partly_refunded", "refunded", "disputed", "unknown"]
    """A payment is `disputed` while a dispute of it is open or lost."""
    paid: str | None
    refunded: str
    disputed: str
    """In disputes that are open or lost."""
    credits: str | None
    """What it bought; of a plan what it stands for of the credits of its period."""
    taken_back: str
    """How many credits have left with the money. Nothing leaves that another payment for the same period covers."""
    occurred_at: str
    period_start: str | None
    period_end: str | None


class PaymentList(Struct, frozen=True, kw_only=True):
    """A page of payments, newest first."""

    object: Literal["list"] = "list"
    data: list[PaymentShown]
    has_more: bool
    next_cursor: str | None


async def list_all(call: Call[None, PageQuery]) -> PaymentList:
    """All payments there ever were, with what has left of each by refunds and disputes."""
    services, query = call.services, call.query
    page = await list_payments(
        services.documents, services.shards, call.caller.account_id, limit=query.limit, after=query.after()
    )
    return PaymentList(**list_fields(page, payment_shown))


def payment_shown(view: PaymentView) -> PaymentShown:
    """The payment as its account sees it."""
    payment, bought = view.payment, view.payment.bought
    period = None if bought is None else bought.period
    return PaymentShown(
        id=view.id,
        kind=None if bought is None else ("plan" if bought.source == PLAN else "top_up"),
        status=_status(payment),
        paid=None if bought is None else _dollars(bought.paid_cents),
        refunded=_dollars(payment.refunded_cents),
        disputed=_dollars(payment.disputed_cents()),
        credits=None if bought is None else format_credits(bought.credits),
        taken_back=format_credits(payment.taken),
        occurred_at=format_instant(view.occurred_at),
        period_start=maybe_instant(None if period is None else period.since),
        period_end=maybe_instant(None if period is None else period.until),
    )


def _status(payment: Payment) -> Literal["paid", "partly_refunded", "refunded", "disputed", "unknown"]:
    if payment.bought is None:
        return "unknown"
    if payment.disputed_cents():
        return "disputed"
    if payment.refunded_cents == 0:
        return "paid"
    return "refunded" if payment.refunded_cents >= payment.bought.paid_cents else "partly_refunded"


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


ROUTES = (
    Route(
        method="GET",
        path="/billing/payments",
        handler=list_all,
        summary="List payments",
        description="What was paid through the billing provider. A second payment for one period is here as well.",
        tag="billing",
        access=needs("billing:read", while_suspended=True),
        query=PageQuery,
        answers={200: PaymentList},
        errors=("invalid_cursor",),
    ),
)
