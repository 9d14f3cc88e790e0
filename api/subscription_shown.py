"""The subscription as its owner and the payment side see it."""

from typing import Any

from msgspec import Struct, convert

from api.account_plan import account_plan
from api.plans import LIMITS, Plans
from api.rfc3339 import format_instant, maybe_instant
from api.routes.plans import PlanLimits
from domain.account.subscription import ScheduledChange, SubscriptionStatus
from projections.subscriptions import SubscriptionView


class ScheduledShown(Struct, frozen=True, kw_only=True):
    """What happens at `effective_at`: the subscription ends (`cancel`), or goes on with this plan and these seats."""

    effective_at: str
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
    found = account_plan(plans, view)
    return {
        "account_id": view.account_id,
        "plan": view.plan,
        "status": view.status,
        "period_start": maybe_instant(view.period_start),
        "period_end": maybe_instant(view.period_end),
        "renews_by_itself": bool(view.renews_by_itself) and view.status == "active",
        "grace_until": maybe_instant(view.grace_until),
        "scheduled": None if view.scheduled is None else _scheduled(view.scheduled),
        "seats": found.seats,
        "features": list(found.plan.features),
        "limits": PlanLimits(**{name: getattr(found.plan, name) for name in LIMITS}),
    }


def _scheduled(change: ScheduledChange) -> ScheduledShown:
    return ScheduledShown(
        effective_at=format_instant(change.effective_at), cancel=change.cancel, plan=change.plan, seats=change.seats
    )


def answered_view(account_id: str, data: dict[str, Any]) -> SubscriptionView:
    """The subscription of an outcome's data, so that a repeat says what the first answer said."""
    return convert(data | {"account_id": account_id}, SubscriptionView)
