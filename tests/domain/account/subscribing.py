"""Plans and news about them, with the values that most tests do not care about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.account.plan_terms import PlanTerms
from domain.account.subscription import ConfirmSubscription
from domain.instant import Instant
from tests.domain.scenario import T0


def terms(monthly_credits: int = 0, **changed: Any) -> PlanTerms:
    """Of a plan with three seats and a grace of a week."""
    words: dict[str, Any] = {
        "messages_per_day": 1_000,
        "requests_per_minute": 60,
        "requests_per_day": 1_000,
        "agent_slots": 5,
        "api_keys": 100,
        "seats": 3,
        "features": ("basic_models",),
        "price": monthly_credits,
        "grace_days": 7,
    }
    return PlanTerms(monthly_credits=monthly_credits, **(words | changed))


def news(reference: str = "r", occurred_at: Instant = T0, **changed: Any) -> ConfirmSubscription:
    """A plan that renews by itself and is granted 2,000 micro-credits a month, but for what is changed."""
    words: dict[str, Any] = {"plan": "pro", "status": "active", "terms": terms(2_000), "renews_by_itself": True}
    return ConfirmSubscription(occurred_at=occurred_at, reference=reference, **(words | changed))


def moment(text: str) -> Instant:
    """The instant of an RFC 3339 date or time, in UTC."""
    found = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def day(at: Instant | None) -> str | None:
    """The date of an instant."""
    return None if at is None else (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).date().isoformat()
