"""What an API key with a credit limit has spent in the limit's period, and holds, as the read models show it."""

from api.parts import Services
from domain.account.api_key_limits import CreditPeriod
from domain.account.api_key_spending import period_end
from domain.instant import DAY, Instant
from domain.money import MicroCredits
from projections.holds import list_holds
from projections.usage import QUARTER
from projections.usage_sums import Question, TooMuchUsage, sum_usage

HOLDS_SEEN = 100
"""The newest holds among which open ones are looked for: older ones have hardly been left open."""
YEARS: Instant = 10 * 366 * DAY


async def spent_by_key(
    services: Services, account_id: str, key_id: str, period: CreditPeriod, now: Instant
) -> tuple[MicroCredits, MicroCredits]:
    """Micro-credits spent in the period that `now` lies in, and held. Both are 0 where it is too much to be told."""
    question = Question(
        account_id=account_id, start=_begin(period, now), end=now - now % QUARTER + QUARTER, key_id=key_id
    )
    try:
        sums = await sum_usage(services.documents, services.shards, question)
    except TooMuchUsage:
        return 0, 0
    holds = await list_holds(services.documents, services.shards, account_id, limit=HOLDS_SEEN)
    held = sum(hold.amount for hold in holds.items if hold.status == "open" and hold.key_id == key_id)
    return sum(each.figure("cost") for each in sums), held


def _begin(period: CreditPeriod, now: Instant) -> Instant:
    """When the period begins: days and months are UTC's."""
    match period:
        case "total":
            return max(now - now % QUARTER - YEARS, 0)
        case "day":
            return now - now % DAY
        case "month":
            start = now - now % DAY
            while period_end("month", start - 1) == period_end("month", now):
                start -= DAY
            return start
