"""`X-Quota-Warning`: what is nearly used up, from 80 % on.

A list of structured fields (RFC 9651) like `RateLimit`: the quota's name as a string, `used` and `limit` as integers,
`reset` in seconds until it begins anew. Of credits both are micro-credits, and there is no `reset`: they come with the
next period, or with a purchase.
"""

from collections.abc import Mapping

from api.account_plan import AccountPlan
from domain.account.quota_windows import Counted, level
from domain.instant import SECOND, Instant
from domain.money import MicroCredits

NAME = "X-Quota-Warning"

CREDITS = "monthly_credits"


def warning(name: str, counted: Counted | None, at: Instant) -> str | None:
    """The warning of one quota, or `None` below 80 %."""
    if counted is None or counted.limit is None or not level(counted):
        return None
    reset_s = max(-(-(counted.ends_at - at) // SECOND), 0)
    return f'"{name}";used={counted.used};limit={counted.limit};reset={reset_s}'


def credits_warning(subscription: AccountPlan | None, available: MicroCredits) -> str | None:
    """Where what is available is a fifth of the plan's monthly credits, or less; more than those were bought: nothing.

    `None` for a plan that grants none.
    """
    if subscription is None:
        return None
    monthly = subscription.plan.credits_for(subscription.seats)
    if not monthly or available * 5 > monthly:
        return None
    return f'"{CREDITS}";used={monthly - max(available, 0)};limit={monthly}'


def warning_headers(*warnings: str | None) -> Mapping[str, str]:
    """The header with all warnings that there are; none without any."""
    found = [each for each in warnings if each is not None]
    return {NAME: ", ".join(found)} if found else {}
