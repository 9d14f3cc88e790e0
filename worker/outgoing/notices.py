"""Events as the operator's webhooks tell them: one small function for each type; what has none is not told.

Amounts are decimal strings of credits, times RFC 3339 in UTC, as everywhere outside. No secret and nothing personal.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.payments import PaymentConfirmed, PaymentDisputed, PaymentRefunded
from domain.account.quotas import CreditsLow, QuotaReached
from domain.account.subscription import SubscriptionConfirmed, SubscriptionScheduled
from domain.account.subscription_change import SubscriptionChanged, SubscriptionRenewed
from domain.instant import Instant
from domain.message import Event
from domain.money import format_credits
from worker.rfc3339 import format_instant

Told: TypeAlias = dict[str, Any]


def told(event: Event) -> Told | None:
    """What is told of the event beside its type, its time and its account; `None` for one that is not told.

    Providers tell of one thing several times, in events of many kinds: what is not news is not told on.
    """
    tell = NOTICES.get(type(event))
    return None if tell is None or getattr(event, "repeated", False) else tell(event)


def event_tags() -> list[str]:
    """The tags of all events that are told."""
    return [str(kind.__struct_config__.tag) for kind in NOTICES]


def _subscription_confirmed(event: SubscriptionConfirmed) -> Told:
    return {
        "plan": event.plan,
        "status": event.status,
        "period_start": _maybe(event.period_start),
        "period_end": _maybe(event.period_end),
        "seats": event.seats,
        "occurred_at": format_instant(event.occurred_at),
        "reference": event.reference,
    }


def _maybe(at: Instant | None) -> str | None:
    return None if at is None else format_instant(at)


def _subscription_renewed(event: SubscriptionRenewed) -> Told:
    return {
        "plan": event.plan,
        "status": event.status,
        "period_start": format_instant(event.period_start),
        "period_end": format_instant(event.period_end),
        "seats": event.seats,
    }


def _subscription_changed(event: SubscriptionChanged) -> Told:
    return {
        "reason": event.reason,
        "plan_before": event.plan_before,
        "status_before": event.status_before,
        "plan": event.plan,
        "status": event.status,
        "seats": event.seats,
        "grace_until": _maybe(event.grace_until),
    }


def _subscription_scheduled(event: SubscriptionScheduled) -> Told:
    change = event.change
    if change is None:
        return {"effective_at": None, "cancel": False, "plan": None, "seats": None}
    effective_at = format_instant(change.effective_at)
    return {"effective_at": effective_at, "cancel": change.cancel, "plan": change.plan, "seats": change.seats}


def _payment_confirmed(event: PaymentConfirmed) -> Told:
    return {
        "payment_id": event.payment_id,
        "credits": format_credits(event.credits),
        "paid_cents": event.paid_cents,
        "source": event.source,
        "occurred_at": format_instant(event.occurred_at),
    }


def _payment_refunded(event: PaymentRefunded) -> Told:
    return {
        "payment_id": event.payment_id,
        "refunded_cents": event.refunded_cents,
        "occurred_at": format_instant(event.occurred_at),
    }


def _payment_disputed(event: PaymentDisputed) -> Told:
    return {
        "payment_id": event.payment_id,
        "dispute_id": event.dispute_id,
        "status": event.status,
        "amount_cents": event.amount_cents,
        "occurred_at": format_instant(event.occurred_at),
    }


def _credits_taken_back(event: CreditsTakenBack) -> Told:
    return {
        "payment_id": event.payment_id,
        "amount": format_credits(event.amount),
        "owed": format_credits(event.owed),
        "reason": event.reason,
        "balance": format_credits(event.balance),
        "debt": format_credits(event.debt),
    }


def _credits_given_back(event: CreditsGivenBack) -> Told:
    return {
        "payment_id": event.payment_id,
        "amount": format_credits(event.amount),
        "repaid": format_credits(event.repaid),
        "reason": event.reason,
        "balance": format_credits(event.balance),
        "debt": format_credits(event.debt),
    }


def _quota_reached(event: QuotaReached) -> Told:
    return {
        "quota": event.quota,
        "level": event.level,
        "used": event.used,
        "limit": event.limit,
        "resets_at": format_instant(event.resets_at),
    }


def _credits_low(event: CreditsLow) -> Told:
    return {"balance": format_credits(event.balance), "low_balance": format_credits(event.low_balance)}


NOTICES: Mapping[type[Event], Callable[[Any], Told]] = {
    SubscriptionConfirmed: _subscription_confirmed,
    SubscriptionRenewed: _subscription_renewed,
    SubscriptionChanged: _subscription_changed,
    SubscriptionScheduled: _subscription_scheduled,
    PaymentConfirmed: _payment_confirmed,
    PaymentRefunded: _payment_refunded,
    PaymentDisputed: _payment_disputed,
    CreditsTakenBack: _credits_taken_back,
    CreditsGivenBack: _credits_given_back,
    QuotaReached: _quota_reached,
    CreditsLow: _credits_low,
}
