"""What of a plan's credits an account is granted at once when it takes the plan now: what an offer may promise.

As `domain.account.subscription_period` grants it, and for a change that a provider bills in mid-period as
`api.billing.stripe_paid` does: what is billed for the rest of the period. Never more than is granted then.
"""

from api.account_plan import AccountPlan
from api.plans import Plan
from domain.account.subscription_period import PeriodCredits
from domain.instant import Instant
from domain.money import MICRO, MicroCredits

MICRO_PER_CENT = MICRO // 100


def credits_at_once(plan: Plan, seats: int, *, known: AccountPlan, now: Instant) -> MicroCredits:
    """Micro-credits that come with the plan for so many seats, for an account whose own subscription is `known`."""
    before = known.period_credits
    entitled = plan.credits_for(seats)
    if known.billed_as is None or known.period is None:
        return _more(before, now, entitled)  # a period that begins now
    match known.status:
        case "trialing":
            return _more(before, known.period[0], plan.credits_for(1) if plan.trial_days else 0)
        case "active":
            return _of_the_rest(plan, known, seats, known.period, now)
        case _:
            return 0  # what is owed for the running plan is paid first


def _more(before: PeriodCredits | None, start: Instant, entitled: MicroCredits) -> MicroCredits:
    return max(entitled - (0 if before is None else before.unused(start)), 0)


def _of_the_rest(
    plan: Plan, known: AccountPlan, seats: int, period: tuple[Instant, Instant], now: Instant
) -> MicroCredits:
    """The difference for the rest of the period, of which each plan is billed in whole cents."""
    start, end = period
    left = max(end - max(now, start), 0)
    length = end - start
    new, old = plan.credits_for(seats), known.plan.credits_for(seats)
    billed = new * left // length + -old * left // length - _of_a_cent(plan) - _of_a_cent(known.plan)
    before = known.period_credits
    granted = 0 if before is None else before.unused(start)
    return max(min(billed, new - granted), 0)


def _of_a_cent(plan: Plan) -> MicroCredits:
    """What the plan grants for a cent, rounded up."""
    return -(-plan.monthly_credits * MICRO_PER_CENT // plan.price) if plan.price else 0
