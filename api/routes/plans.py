"""The plans that an operator offers."""

from typing import Literal

from msgspec import Struct

from api.call import Call
from api.plans import LIMITS, Plan, TopUp
from api.route import PUBLIC, Route
from domain.money import format_credits


class PlanLimits(Struct, frozen=True, kw_only=True):
    """Whole numbers; null is unlimited."""

    messages_per_day: int | None
    requests_per_minute: int | None
    requests_per_day: int | None
    agent_slots: int | None
    api_keys: int | None
    seats: int | None
    organizations: int | None
    """How many a person on the plan can make, where the plan has organizations."""


class PlanPrice(Struct, frozen=True, kw_only=True):
    """US dollars a month; null is by agreement."""

    amount: str | None
    currency: Literal["USD"] = "USD"
    period: Literal["month"] = "month"
    per_seat: bool


class FeatureLimitShown(Struct, frozen=True, kw_only=True):
    """How much of a metered feature there is in a day and in a calendar month; null is unlimited."""

    per_day: int | None
    per_month: int | None


class PlanShown(Struct, frozen=True, kw_only=True):
    """One plan. `monthly_credits` are granted each period, for each seat where the price is."""

    id: str
    title: str
    price: PlanPrice
    monthly_credits: str
    limits: PlanLimits
    features: list[str]
    feature_limits: dict[str, FeatureLimitShown]
    """Of its metered features; one that is not named is unlimited."""
    trial_days: int


class FeatureShown(Struct, frozen=True, kw_only=True):
    """What the id of a feature stands for. A metered one is counted."""

    id: str
    title: str
    metered: bool


class TopUpPrice(Struct, frozen=True, kw_only=True):
    """US dollars, once."""

    amount: str
    currency: Literal["USD"] = "USD"


class TopUpShown(Struct, frozen=True, kw_only=True):
    """Credits that are sold beside the plans."""

    id: str
    title: str
    price: TopUpPrice
    credits: str


class PlanList(Struct, frozen=True, kw_only=True):
    """All plans in the operator's order, the features that they name, and what is sold beside them."""

    object: Literal["list"] = "list"
    data: list[PlanShown]
    features: list[FeatureShown]
    top_ups: list[TopUpShown]
    has_more: bool = False
    next_cursor: str | None = None


async def list_plans(call: Call[None, None]) -> PlanList:
    """All plans on offer."""
    plans = call.services.plans
    named = {name for plan in plans.on_offer for name in plan.features}
    return PlanList(
        data=[plan_shown(plan) for plan in plans.on_offer],
        features=[
            FeatureShown(id=each.id, title=each.title, metered=each.metered)
            for each in plans.features.values()
            if each.id in named
        ],
        top_ups=[_top_up_shown(each) for each in plans.top_ups.values()],
    )


def _top_up_shown(top_up: TopUp) -> TopUpShown:
    return TopUpShown(
        id=top_up.id,
        title=top_up.title,
        price=TopUpPrice(amount=format_credits(top_up.price)),
        credits=format_credits(top_up.credits),
    )


def plan_shown(plan: Plan) -> PlanShown:
    """A plan as the pricing page needs it."""
    amount = None if plan.price is None else format_credits(plan.price)
    return PlanShown(
        id=plan.id,
        title=plan.title,
        price=PlanPrice(amount=amount, per_seat=plan.per_seat),
        monthly_credits=format_credits(plan.monthly_credits),
        limits=PlanLimits(**{name: getattr(plan, name) for name in LIMITS}),
        features=list(plan.features),
        feature_limits={
            name: FeatureLimitShown(per_day=limit.per_day, per_month=limit.per_month)
            for name, limit in plan.feature_limits.items()
        },
        trial_days=plan.trial_days,
    )


ROUTES = (
    Route(
        method="GET",
        path="/billing/plans",
        handler=list_plans,
        summary="List the plans",
        tag="billing",
        access=PUBLIC,
        answers={200: PlanList},
    ),
)
