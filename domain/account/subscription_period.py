"""The periods of a subscription: how long each lasts, and what of the plan's credits each is granted."""

from typing import TYPE_CHECKING

from msgspec import Struct

from domain.account.credits import AddCredits, CreditsGranted, granted
from domain.account.plan_terms import FREE, PlanTerms
from domain.instant import DAY, Instant
from domain.money import MicroCredits
from domain.month import day_of, falls_on, months_between, months_later

if TYPE_CHECKING:
    from domain.account.account import Account

PERIOD_MAX: Instant = 3 * 366 * DAY
START_AHEAD_MAX: Instant = 366 * DAY
"""A plan is in force once it is told of: one whose period begins in decades would be had for nothing until then."""
LATEST: Instant = 7_258_118_400_000_000
"""2200-01-01: no period that anybody tells of ends later."""
MISSED_MAX = 24
"""Periods that are renewed one by one when time has passed unseen; of more, the first ones are left out."""
PLAN_PRIORITY = 50
"""Credits of a plan are burnt before what was bought (100), because they run out."""
SOURCE = "plan"


class PeriodCredits(Struct, frozen=True, kw_only=True):
    """What was granted for `since` to `until` in all. It counts evenly: half of it for half of the time."""

    since: Instant
    until: Instant
    amount: MicroCredits

    def unused(self, at: Instant) -> MicroCredits:
        """What counts for the time after `at`, rounded up, so that nobody gains by asking often."""
        if at <= self.since:
            return self.amount
        if at >= self.until:
            return 0
        return -(-self.amount * (self.until - at) // (self.until - self.since))


def end_of(start: Instant, anchor_day: int) -> Instant:
    """Where a period of a month ends that begins at `start`."""
    return months_later(start, 1, anchor_day)


def month_from(start: Instant) -> Instant:
    """The same for a first period, whose day of the month counts."""
    return end_of(start, day_of(start))


def begin_of(end: Instant) -> Instant:
    """Where a period of a month began that has ended at `end`."""
    return months_later(end, -1, day_of(end))


def anchor_day(start: Instant, end: Instant | None) -> int:
    """The day of the month on which the periods after this one begin: that of its start, if its end agrees."""
    return day_of(start) if end is None or falls_on(end, day_of(start)) else day_of(end)


def after_missed(start: Instant, at: Instant, anchor_day: int) -> tuple[Instant, int]:
    """Where to go on renewing what ended at `start`, and how many periods that leaves out."""
    missed = months_between(start, at) - MISSED_MAX
    return (months_later(start, missed, anchor_day), missed) if missed > 0 else (start, 0)


def entitlement(plan: str, terms: PlanTerms, seats: int | None) -> MicroCredits:
    """What one period is granted; the free plan has no periods."""
    return 0 if plan == FREE else terms.credits_for(seats)


def credited(
    known: PeriodCredits | None, start: Instant, end: Instant, entitled: MicroCredits
) -> tuple[PeriodCredits | None, MicroCredits]:
    """What has been granted once the period has got what is still missing, and how much that is.

    What was granted before for time that this period covers counts towards it: a repeated period is granted nothing, a
    dearer plan in mid-period the difference, and one that begins anew before its end what has gone by. Nothing is ever
    taken back, and who pays less later in the same period does not get it twice.
    """
    unused = 0 if known is None else known.unused(start)
    if entitled <= unused:
        return known, 0
    if known is not None and start <= known.since:
        start, end = known.since, max(end, known.until)
    return PeriodCredits(since=start, until=end, amount=entitled), entitled - unused


def grant(
    account: "Account", plan: str, credits: PeriodCredits | None, amount: MicroCredits, end: Instant, at: Instant
) -> list[CreditsGranted]:
    """The grant of a period, which runs out with it; none of nothing. Its id says the period and the sum so far."""
    if credits is None or amount == 0:
        return []
    grant_id = f"plan_{credits.since}_{credits.amount}"
    command = AddCredits(
        grant_id=grant_id,
        amount=amount,
        source=SOURCE,
        reference=grant_id,
        reason=f"credits of the plan {plan}",
        priority=PLAN_PRIORITY,
        expires_at=end,
    )
    return [granted(account.credits, command, at)]
