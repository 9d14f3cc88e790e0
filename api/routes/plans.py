"""The plans that an operator offers."""

from typing import Literal

from msgspec import Struct

from api.call import Call
from api.plans import LIMITS, Plan
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


class PlanPrice(Struct, frozen=True, kw_only=True):
    """US dollars a month; null is by agreement."""

    amount: str | None
    currency: Literal["USD"] = "USD"
    period: Literal["month"] = "month"
    per_seat: bool


class PlanShown(Struct, frozen=True, kw_only=True):
    """One plan. `monthly_credits` are granted each month."""

    id: str
    title: str
    price: PlanPrice
    monthly_credits: str
    limits: PlanLimits
    features: list[str]


class PlanList(Struct, frozen=True, kw_only=True):
    """All plans, the smallest first."""

    object: Literal["list"] = "list"
    data: list[PlanShown]
    has_more: bool = False
    next_cursor: str | None = None


async def list_plans(call: Call[None, None]) -> PlanList:
    """All plans on offer."""
    return PlanList(data=[_shown(plan) for plan in call.services.plans.values()])


def _shown(plan: Plan) -> PlanShown:
    amount = None if plan.price is None else format_credits(plan.price)
    return PlanShown(
        id=plan.id,
        title=plan.title,
        price=PlanPrice(amount=amount, per_seat=plan.per_seat),
        monthly_credits=format_credits(plan.monthly_credits),
        limits=PlanLimits(**{name: getattr(plan, name) for name in LIMITS}),
        features=list(plan.features),
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
