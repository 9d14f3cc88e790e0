"""Whether an account's plan has a feature: asked by the endpoint for a route's `feature`, and by whoever needs one."""

from api.account_plan import AccountPlan
from api.errors import ApiError, declare

declare(
    "feature_not_in_plan",
    "payment_required",
    "The account's plan does not include this feature.",
    "`missing` names the feature, `upgrade` the plans that have it, the cheapest first; `checkout` is the call that"
    " buys it, or null: then ask the operator.",
)


def plan_includes(subscription: AccountPlan | None, feature: str) -> bool:
    """Whether the plan in force has the feature; nobody in particular has none."""
    return subscription is not None and feature in subscription.plan.features


def require_feature(subscription: AccountPlan | None, feature: str) -> None:
    """402 `feature_not_in_plan` unless the plan in force has it."""
    if not plan_includes(subscription, feature):
        plan = None if subscription is None else subscription.plan.id
        raise ApiError("feature_not_in_plan", f"The plan does not include {feature}.", feature=feature, plan=plan)
