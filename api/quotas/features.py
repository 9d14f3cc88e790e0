"""What an account may use of each feature: whether its plan has it, what is used of it, and what is left."""

from msgspec import Struct

from api.account_plan import AccountPlan
from api.quotas.guard import plan_includes
from api.quotas.windows import asked_day, asked_month, standing
from api.rfc3339 import format_instant
from domain.account.plan_terms import FeatureLimit
from domain.account.quota_windows import Asked, Counted
from domain.instant import Instant
from projections.feature_uses import FeatureUsesView

UNLIMITED = FeatureLimit()


class FeatureStanding(Struct, frozen=True, kw_only=True):
    """One feature of one account, as a read model knows it."""

    included: bool
    day: Counted
    month: Counted

    @property
    def remaining(self) -> int | None:
        """What can still be used now; `None` is unlimited."""
        left = [each for each in (self.day.left, self.month.left) if each is not None]
        return min(left, default=None) if self.included else 0


class WindowShown(Struct, frozen=True, kw_only=True):
    """What is used in a day or a month, and what is left of it; null is unlimited."""

    used: int
    limit: int | None
    remaining: int | None
    resets_at: str


def asked_feature(subscription: AccountPlan, feature: str, at: Instant, *, enforced: bool) -> tuple[Asked, Asked]:
    """Day and month of a feature, with what the plan allows of it."""
    limits = subscription.plan.feature_limits.get(feature, UNLIMITED) if enforced else UNLIMITED
    return asked_day(subscription, limits.per_day, at), asked_month(subscription, limits.per_month, at)


def check(
    subscription: AccountPlan, uses: FeatureUsesView, feature: str, at: Instant, *, enforced: bool
) -> FeatureStanding:
    """How the account stands with a feature."""
    day, month = asked_feature(subscription, feature, at, enforced=enforced)
    known = uses.features.get(feature)
    return FeatureStanding(
        included=plan_includes(subscription, feature),
        day=standing(None if known is None else known.day, day, at),
        month=standing(None if known is None else known.month, month, at),
    )


def window_shown(counted: Counted) -> WindowShown:
    """As clients see it."""
    return WindowShown(
        used=counted.used,
        limit=counted.limit,
        remaining=counted.left,
        resets_at=format_instant(counted.ends_at),
    )
