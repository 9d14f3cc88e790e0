"""The windows in which an account's quotas are counted, as commands carry them: days and months of its time zone."""

from api.account_plan import AccountPlan
from api.errors import declare
from domain.account.quota_windows import Asked, Counted
from domain.instant import Instant
from projections.local_days import local_day, local_month

declare(
    "messages_quota_exceeded",
    "too_many",
    "The plan's messages of this day are used up.",
    "Wait until `resets_at` (Retry-After has the seconds), or take one of the plans that `upgrade` names.",
)

declare(
    "feature_quota_exceeded",
    "too_many",
    "What the plan has of this feature is used up.",
    "`quota` says of which period; wait until `resets_at`, or take one of the plans that `upgrade` names.",
)
declare(
    "invalid_feature_amount",
    "invalid",
    "The amount of the feature is out of range.",
    "Send a whole number from 1 to 10^12.",
)


def asked_messages(subscription: AccountPlan | None, at: Instant, *, enforced: bool) -> Asked | None:
    """The account's day of messages; `None` where they are unlimited, or no limits are enforced at all."""
    if subscription is None or not enforced or subscription.plan.messages_per_day is None:
        return None
    return asked_day(subscription, subscription.plan.messages_per_day, at)


def asked_day(subscription: AccountPlan, limit: int | None, at: Instant) -> Asked:
    """The account's day with a limit."""
    day = local_day(subscription.time_zone, at)
    return Asked(limit=limit, starts_at=day.start, ends_at=day.end, next_ends_at=day.next_end)


def asked_month(subscription: AccountPlan, limit: int | None, at: Instant) -> Asked:
    """The account's calendar month with a limit."""
    month = local_month(subscription.time_zone, at)
    return Asked(limit=limit, starts_at=month.start, ends_at=month.end, next_ends_at=month.next_end)


def standing(known: Counted | None, asked: Asked, at: Instant) -> Counted:
    """What is used in the window that counts now, as a read model knows it; the limit is the plan's of today."""
    if known is not None and (at < known.ends_at or asked.starts_at < known.ends_at):
        ends_at = known.ends_at if at < known.ends_at else asked.ends_at
        return Counted(starts_at=known.starts_at, ends_at=ends_at, used=known.used, limit=asked.limit)
    return Counted(starts_at=asked.starts_at, ends_at=asked.ends_at, used=0, limit=asked.limit)
