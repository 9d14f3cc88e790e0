"""What Autumn's objects mean here: pure functions from what it shows now to commands.

A payment is an invoice that is paid, by the id that it has at the payment processor. Of a top-up, which is a one-off
plan with the same id there and here, it grants the credits; of a plan it grants nothing itself, since these come with
the period, and what is refunded of it takes them back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from api.account_plan import terms_of
from api.billing.provider import Told
from api.errors import ApiError
from api.ids import derived
from api.plans import Plan, Plans
from domain.account.payment import PaidPeriod
from domain.account.payments import ConfirmPayment, RefundPayment
from domain.account.plan_terms import FREE
from domain.account.subscription import ConfirmSubscription, SubscriptionStatus, check
from domain.account.subscription_period import PLAN_PRIORITY
from domain.account.subscription_period import SOURCE as PLAN
from domain.errors import Invalid
from domain.instant import Instant
from domain.message import Command
from domain.money import MICRO, MicroCredits, parse_credits
from projections.subscriptions import SubscriptionView

if TYPE_CHECKING:
    from autumn_sdk.models import GetCustomerResponse, GetCustomerSubscription, ListInvoicesList

REFERENCE = "autumn:"
"""Before the references of all news that are Autumn's, and not somebody's by `PUT /billing/subscription`."""
CURRENCY = "usd"
MICRO_PER_MILLI = 1_000
MICRO_PER_CENT = MICRO // 100

_log = structlog.get_logger()


def in_force(
    subscriptions: "Sequence[GetCustomerSubscription]", plan_id: str | None = None
) -> "GetCustomerSubscription | None":
    """The newest subscription that has begun, of the plan if one is named; the free plan is none."""
    begun = [
        each
        for each in subscriptions
        if (plan_id is None or each.plan_id == plan_id)
        and each.plan_id != FREE
        and each.status == "active"
        and not (each.add_on or each.auto_enable)
    ]
    return max(begun, key=lambda each: (each.started_at, each.id), default=None)


def subscription_fact(
    customer: "GetCustomerResponse | None",
    account: str,
    known: SubscriptionView,
    plans: Plans,
    seats_feature: str,
    *,
    asked_at: Instant,
    news: str,
) -> Sequence[Told]:
    """How the account's subscription stands: what the customer has, or that what Autumn told of before is over.

    409 `plan_unknown` where the plan file has no such plan, `Invalid` where it cannot be right.
    """
    found = None if customer is None else in_force(customer.subscriptions)
    if customer is None or found is None:
        return _ended(account, known, asked_at, news)
    plan = plans.get(found.plan_id)
    if plan is None:
        _log.error("subscription_plan_unknown", account_id=account, plan=found.plan_id[:100])
        raise ApiError("plan_unknown")
    return [standing(customer, found, account, plan, seats_feature, asked_at=asked_at, news=news)]


def standing(
    customer: "GetCustomerResponse",
    found: "GetCustomerSubscription",
    account: str,
    plan: Plan,
    seats_feature: str,
    *,
    asked_at: Instant,
    news: str,
) -> Told:
    """One subscription of the customer as it is. `Invalid` where it cannot be right.

    A trial is granted the credits of one seat: nobody has paid for the others.
    """
    status = status_of(found, asked_at)
    return _told(
        account,
        ConfirmSubscription(
            plan=plan.id,
            status=status,
            terms=terms_of(plan),
            occurred_at=asked_at,
            reference=f"{REFERENCE}{found.id}/{news}",
            credits_paid=plan.credits_for(1) if status == "trialing" else None,
            period_start=_instant(found.current_period_start),
            period_end=_instant(found.current_period_end),
            seats=seats_of(customer, found, seats_feature) if plan.per_seat else None,
            renews_by_itself=False,
        ),
    )


def _ended(account: str, known: SubscriptionView, asked_at: Instant, news: str) -> Sequence[Told]:
    """Autumn shows what a customer has: what it has told of before and does not show any more is over."""
    if known.plan_in_force == FREE or known.terms is None or not is_ours(known):
        return ()
    ended = ConfirmSubscription(
        plan=known.plan,
        status="canceled",
        terms=known.terms,
        occurred_at=asked_at,
        reference=f"{REFERENCE}none/{news}",
        seats=known.seats,
        renews_by_itself=False,
    )
    return [_told(account, ended)]


def is_ours(known: SubscriptionView) -> bool:
    """Whether the latest that is known of the subscription is Autumn's."""
    return known.reference is not None and known.reference.startswith(REFERENCE)


def is_known(command: Command, known: SubscriptionView) -> bool:
    """Whether it says of the subscription what is known of it."""
    return isinstance(command, ConfirmSubscription) and (
        (command.plan, command.status, command.seats) == (known.plan, known.status, known.seats)
        and command.period_start in (None, known.period_start)
        and command.period_end in (None, known.period_end)
    )


def _told(account: str, command: ConfirmSubscription) -> Told:
    check(command)
    command_id = derived("subscription.confirm", account, command.reference)
    return Told(account_id=account, command=command, command_id=command_id)


def seats_of(customer: "GetCustomerResponse", found: "GetCustomerSubscription", seats_feature: str) -> int:
    """How many the plan is paid for: as units of the feature that counts them, else as units of the plan."""
    balance = customer.balances.get(seats_feature)
    if balance is None:
        return int(found.quantity)
    of_plan = [each for each in balance.breakdown or () if each.plan_id == found.plan_id]
    granted = sum(each.included_grant + each.prepaid_grant for each in of_plan) if of_plan else balance.granted
    return int(granted)


def status_of(subscription: "GetCustomerSubscription", at: Instant) -> SubscriptionStatus:
    """A subscription that was canceled lasts until it expires."""
    expires_at, trial_ends_at = _instant(subscription.expires_at), _instant(subscription.trial_ends_at)
    if expires_at is not None and expires_at <= at:
        return "canceled"
    if subscription.past_due:
        return "past_due"
    return "trialing" if trial_ends_at is not None and trial_ends_at > at else "active"


def _instant(millis: Any) -> Instant | None:
    """The SDK reads Autumn's whole milliseconds as a double, which holds them exactly."""
    return None if millis is None else int(millis) * MICRO_PER_MILLI


def sold_at(invoice: "ListInvoicesList") -> Instant:
    """When the invoice was made."""
    return int(invoice.created_at) * MICRO_PER_MILLI


def credits_of(invoice: "ListInvoicesList", plans: Plans) -> MicroCredits:
    """What the top-ups that are on the invoice are worth, each once; 0 where there is none."""
    sold = (plans.top_ups.get(each) for each in dict.fromkeys(invoice.plan_ids) if each not in plans)
    return sum(each.credits for each in sold if each is not None)


def purchase_facts(invoice: "ListInvoicesList", account: str, plans: Plans) -> Sequence[Told]:
    """The payment of a top-up, or of a plan's period, and what was refunded of it. Nothing of what is unpaid."""
    paid_cents = _cents(invoice.total if invoice.amount_paid is None else invoice.amount_paid)
    refunded_cents = _cents(invoice.refunded_amount)
    credits = credits_of(invoice, plans)
    if invoice.status != "paid":
        return ()
    if paid_cents is None or refunded_cents is None or paid_cents < 0 or invoice.currency.lower() != CURRENCY:
        if credits:
            _log.error("payment_not_granted", invoice=invoice.stripe_id, currency=invoice.currency[:10])
        return ()
    payment = _top_up(invoice, credits, paid_cents, plans) if credits else _plan_payment(invoice, paid_cents, plans)
    if payment is None:
        return ()
    told = [Told(account_id=account, command=payment, command_id=derived("payment.confirm", invoice.stripe_id))]
    if refunded_cents:
        # Autumn only ever adds to what it has refunded, so the sum names the news, however often they are told. It
        # alone says which are newer: who asked first may have been answered last.
        refund = RefundPayment(
            payment_id=invoice.stripe_id,
            refunded_cents=min(refunded_cents, paid_cents),
            occurred_at=sold_at(invoice),
        )
        command_id = derived("payment.refund", invoice.stripe_id, str(refunded_cents))
        told.append(Told(account_id=account, command=refund, command_id=command_id))
    return told


def _top_up(invoice: "ListInvoicesList", credits: MicroCredits, paid_cents: int, plans: Plans) -> ConfirmPayment:
    return ConfirmPayment(
        payment_id=invoice.stripe_id,
        grant_id=f"grant_{derived('payment', invoice.stripe_id).replace('-', '')}",
        credits=credits,
        paid_cents=paid_cents,
        occurred_at=sold_at(invoice),
        reason=", ".join(each.title for each in plans.top_ups.values() if each.id in invoice.plan_ids),
    )


def _plan_payment(invoice: "ListInvoicesList", paid_cents: int, plans: Plans) -> ConfirmPayment | None:
    """The credits of a period that the invoice's lines stand for, granted with the period and not by this."""
    lines = [(each, plans.get(each.plan_id or ""), _cents(each.amount)) for each in invoice.items or ()]
    sold = [(line, plan, cents) for line, plan, cents in lines if plan is not None and plan.price and cents]
    credits = sum(plan.monthly_credits * cents * MICRO_PER_CENT // (plan.price or 1) for _, plan, cents in sold)
    spans = [(_instant(line.period_start), _instant(line.period_end)) for line, _, _ in sold]
    since, until = max(((a, b) for a, b in spans if a is not None and b is not None), default=(None, None))
    if credits <= 0 or since is None or until is None or paid_cents == 0:
        return None
    quantities = ((plan, line.quantity) for line, plan, cents in sold if cents > 0)
    entitled = max(plan.credits_for(None if number is None else int(number)) for plan, number in quantities)
    return ConfirmPayment(
        payment_id=invoice.stripe_id,
        grant_id=f"{PLAN}_{since}_{credits}",
        credits=credits,
        paid_cents=paid_cents,
        occurred_at=sold_at(invoice),
        priority=PLAN_PRIORITY,
        expires_at=until,
        source=PLAN,
        granted=False,
        period=PaidPeriod(since=since, until=until, entitled=entitled),
    )


def _cents(dollars: Any) -> int | None:
    """Exact, by way of text: the shortest decimal of the double that the SDK has made is what was sent.

    `None` for what is no amount of dollars.
    """
    text = str(dollars)
    try:
        cents = parse_credits(text.removeprefix("-")) // MICRO_PER_CENT
    except Invalid:
        return None
    return -cents if text.startswith("-") else cents
