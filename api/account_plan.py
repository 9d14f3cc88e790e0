"""Which plan an account is on: what it subscribed to, in the terms of the operator's plan file."""

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from api.plans import Plan, Plans
from domain.account.plan_terms import FREE, PlanTerms
from domain.account.preferences import TIME_ZONE
from domain.account.subscription import SubscriptionStatus
from domain.account.subscription_period import PeriodCredits
from domain.instant import Instant
from projections.documents import DocumentReader
from projections.organizations import get_organization
from projections.subscriptions import SubscriptionView, get_subscription

if TYPE_CHECKING:
    from api.parts import Services


class AccountPlan(Struct, frozen=True, kw_only=True):
    """The plan in force, and how the subscription stands. `account_id` is whose subscription it is."""

    account_id: str
    plan: Plan
    status: SubscriptionStatus
    seats: int | None
    """How many people the account has room for: what was paid for, else the plan's number; `None` is unlimited."""
    billed_as: str | None = None
    """The reference of what somebody bills and has not ended, also where its grace is over here."""
    period: tuple[Instant, Instant] | None = None
    """From when until when its period is, if that is known."""
    period_credits: PeriodCredits | None = None
    """What its last period has been granted in all."""
    time_zone: str = TIME_ZONE
    """In which the acting account's days are counted; only a `Caller`'s is looked up."""


def account_plan(plans: Plans, subscription: SubscriptionView) -> AccountPlan:
    """The plan in force of a subscription.

    The plan file has the last word on what a plan allows from now on, so that an operator who changes it changes it
    for everybody; a plan that is no longer in it goes on as it was confirmed. What was decided stands: the periods and
    credits of a subscription follow the terms in its events (decision 0023).
    """
    plan_id, terms = subscription.plan_in_force, subscription.terms
    plan = plans.get(plan_id)
    if plan is None:
        plan = plans.free if terms is None else _as_confirmed(plans.free, plan_id, terms)
    seats = subscription.seats if plan_id == subscription.plan else None
    return AccountPlan(
        account_id=subscription.account_id,
        plan=plan,
        status=subscription.status,
        seats=plan.seats if seats is None else seats,
        billed_as=_billed_as(subscription),
        period=_period(subscription),
        period_credits=subscription.period_credits,
    )


def _period(subscription: SubscriptionView) -> tuple[Instant, Instant] | None:
    start, end = subscription.period_start, subscription.period_end
    return None if start is None or end is None or end <= start else (start, end)


def _billed_as(subscription: SubscriptionView) -> str | None:
    """News that it is canceled say so without a grace; where time has ended it, the grace is still to be seen."""
    running = subscription.status != "canceled" or subscription.grace_until is not None
    billed = subscription.renews_by_itself is False and subscription.plan != FREE and running
    return subscription.reference if billed else None


def _as_confirmed(free: Plan, plan_id: str, terms: PlanTerms) -> Plan:
    return structs.replace(free, id=plan_id, title=plan_id, **structs.asdict(terms))


def terms_of(plan: Plan) -> PlanTerms:
    """What a plan allows, as the confirmation of a subscription puts it on record."""
    return PlanTerms(**{name: getattr(plan, name) for name in PlanTerms.__struct_fields__})


async def read_account_plan(documents: DocumentReader, shards: int, plans: Plans, account_id: str) -> AccountPlan:
    """The plan in force of an account; an account that was never written is on the free plan."""
    return account_plan(plans, await subscription_in_force(documents, shards, account_id))


async def subscription_in_force(documents: DocumentReader, shards: int, account_id: str) -> SubscriptionView:
    """The subscription whose limits the account has: its own.

    An organization that never subscribed has the limits (never the monthly credits) of the account that created it.
    """
    subscription = await get_subscription(documents, shards, account_id)
    if subscription.terms is None and account_id.startswith("org_"):
        organization = await get_organization(documents, shards, account_id)
        if organization is not None:
            return await get_subscription(documents, shards, organization.created_by)
    return subscription


async def plan_of(services: "Services", account_id: str) -> Plan:
    """The plan in force of an account, for whoever needs one of its limits or features."""
    found = await read_account_plan(services.documents, services.shards, services.plans, account_id)
    return found.plan


async def seats_of(services: "Services", account_id: str) -> int | None:
    """How many people the account has room for; `None` is unlimited."""
    found = await read_account_plan(services.documents, services.shards, services.plans, account_id)
    return found.seats
