"""The subscription as its owner and the payment side see it."""

from typing import Any

from msgspec import Struct, convert

from api.account_plan import account_plan
from api.plans import LIMITS, Plans
from api.rfc3339 import format_instant, maybe_instant
from api.routes.plans import PlanLimits
from domain.account.subscription import SubscriptionStatus
from domain.instant import Instant
from projections.subscriptions import SubscriptionView


class ScheduledShown(Struct, frozen=True, kw_only=True):
    """What happens at `effective_at`: the subscription ends (`cancel`), or goes on with this plan and these seats."""

    effective_at: str
    cancel: bool
    plan: str
    seats: int | None


class ScheduledAnswer(Struct, frozen=True, kw_only=True):
    """The same as outcomes have it."""

    effective_at: Instant
    cancel: bool
    plan: str
    seats: int | None


class SubscriptionShown(Struct, frozen=True, kw_only=True):
    """The account's subscription. `limits` and `features` are what it allows now: canceled, those of `free`."""

    account_id: str
    plan: str
    status: SubscriptionStatus
    period_start: str | None
    period_end: str | None
    renews_by_itself: bool
    """At the period's end another one begins; else it is past due unless the payment side says more."""
    grace_until: str | None
    """Past due: until when it goes on."""
    scheduled: ScheduledShown | None
    seats: int | None
    features: list[str]
    limits: PlanLimits


def subscription_fields(plans: Plans, view: SubscriptionView) -> dict[str, Any]:
    """The fields of `SubscriptionShown`."""
    found, change = account_plan(plans, view), view.scheduled
    return {
        "account_id": view.account_id,
        "plan": view.plan,
        "status": view.status,
        "period_start": maybe_instant(view.period_start),
        "period_end": maybe_instant(view.period_end),
        "renews_by_itself": bool(view.renews_by_itself) and view.status == "active",
        "grace_until": maybe_instant(view.grace_until) if view.status == "past_due" else None,
        "scheduled": None if change is None else _scheduled(convert(change, ScheduledAnswer, from_attributes=True)),
        "seats": found.seats,
        "features": list(found.plan.features),
        "limits": PlanLimits(**{name: getattr(found.plan, name) for name in LIMITS}),
    }


def answered_fields(plans: Plans, account_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """The same of an outcome's data alone, so that a repeat says what the first answer said."""
    change = data.pop("scheduled", None)
    view = convert(data | {"account_id": account_id}, SubscriptionView)
    scheduled = None if change is None else _scheduled(convert(change, ScheduledAnswer))
    return subscription_fields(plans, view) | {"scheduled": scheduled}


def _scheduled(change: ScheduledAnswer) -> ScheduledShown:
    return ScheduledShown(
        effective_at=format_instant(change.effective_at), cancel=change.cancel, plan=change.plan, seats=change.seats
    )
