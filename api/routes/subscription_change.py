"""What an account's owner may change of its subscription without paying: end it, or take less."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from api.account_plan import terms_of
from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.quotas.offers import checkout_call
from api.route import Route, needs
from api.subscription_shown import SubscriptionShown, answered_fields
from domain.account.plan_terms import SEATS_MAX
from domain.account.subscription_change import ChangeSubscription

declare(
    "no_subscription",
    "conflict",
    "The account has no subscription that could be changed.",
    "Begin one: `POST /billing/checkout` with a plan of `GET /billing/plans`, or ask the operator for it.",
)
declare(
    "billed_elsewhere",
    "conflict",
    "The subscription is changed where it is paid for.",
    "Open the address that `POST /billing/portal` answers, or ask the operator.",
)
declare(
    "upgrade_not_paid",
    "payment_required",
    "What costs more has to be bought.",
    "Make the call in `checkout`, or ask the operator where that is null; what was scheduled stays as it is.",
)


class SubscriptionChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `plan` and `seats`, or `cancel`: true ends the subscription, false drops whatever was scheduled."""

    plan: Annotated[str, Meta(min_length=1, max_length=100, description="An id of `GET /billing/plans`.")] | None = None
    seats: Annotated[int, Meta(ge=1, le=SEATS_MAX)] | None = None
    cancel: bool | None = None
    when: Literal["now", "period_end"] = "period_end"


async def change(call: Call[SubscriptionChange, None]) -> SubscriptionShown:
    """Cancels the subscription, takes a smaller plan or fewer seats, or drops what was scheduled."""
    body, services, account_id = call.body, call.services, call.caller.account_id
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    if call.caller.level not in (None, "admin"):
        raise ApiError("missing_level", required_level="admin")
    try:
        outcome = await call.draft(f"account:{account_id}").submit(_command(call))
    except ApiError as error:
        if error.code == "upgrade_not_paid":
            plan_id, seats = str(error.detail.get("plan", body.plan)), error.detail.get("seats", body.seats)
            raise _upgrade(call, plan_id, seats) from None
        raise
    # Other processes see the stamp within a second; this one takes the new limits now.
    services.identities.cache.stamped((f"account:{account_id}",))
    return SubscriptionShown(**answered_fields(services.plans, account_id, data_of(outcome)))


def _command(call: Call[SubscriptionChange, None]) -> ChangeSubscription:
    body, plans = call.body, call.services.plans
    wants = body.plan is not None or body.seats is not None
    if wants == (body.cancel is not None):
        raise ApiError("invalid_subscription", "Send either plan and seats, or cancel.", param="cancel")
    plan = None if body.plan is None else plans.get(body.plan)
    if body.plan is not None and plan is None:
        named = ", ".join(each.id for each in plans.on_offer)
        raise ApiError("unknown_plan", f"There is no such plan; there are: {named}.", param="plan")
    if plan is not None and plan.closed and not _is_on(call, plan.id):
        raise ApiError("not_for_sale", param="plan")
    return ChangeSubscription(
        plan=body.plan,
        terms=None if plan is None else terms_of(plan),
        seats=body.seats,
        cancel=body.cancel is True,
        at_period_end=body.when == "period_end",
    )


def _is_on(call: Call[SubscriptionChange, None], plan_id: str) -> bool:
    subscription = call.caller.subscription
    return subscription is not None and subscription.plan.id == plan_id


def _upgrade(call: Call[SubscriptionChange, None], plan_id: str, seats: int | None) -> ApiError:
    """The refusal with the call that buys what was asked for, where a call would be let buy it."""
    services, plan = call.services, call.services.plans.get(plan_id)
    by_call = plan is not None and not plan.closed and services.billing.name != "none"
    sold = plan is not None and by_call and services.billing.sells(plan)
    # As many as were refused: a page for one seat would sell less than the account has.
    wanted = {"plan": plan_id} | ({"seats": seats} if plan is not None and plan.per_seat and seats else {})
    error = ApiError("upgrade_not_paid", plan=plan_id, checkout=checkout_call(wanted) if sold else None)
    if services.settings.billing.pricing_url is not None:
        error.detail = {**error.detail, "pricing_url": services.settings.billing.pricing_url}
    return error


ROUTES = (
    Route(
        method="POST",
        path="/billing/subscription/change",
        handler=change,
        summary="Change or cancel the subscription",
        description=(
            "For what costs nothing: a smaller plan, fewer seats, the end of the subscription, now or when the period"
            " ends; `cancel: false` drops what was scheduled. In an organization for its admins."
        ),
        tag="billing",
        access=needs("billing:manage"),
        body=SubscriptionChange,
        answers={200: SubscriptionShown},
        errors=(
            "unknown_plan",
            "not_for_sale",
            "invalid_subscription",
            "live_key_required",
            "missing_level",
            "no_subscription",
            "billed_elsewhere",
            "upgrade_not_paid",
        ),
        write=True,
        example={"cancel": True, "when": "period_end"},
    ),
)
