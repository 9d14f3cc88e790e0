"""A subscription that anybody can check by reading: days are stepped through, and fractions are fractions."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

from msgspec import Struct

from domain.instant import DAY, Instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def a_month_after(start: Instant, day: int) -> Instant:
    """Day after day, until it is that day of the next month, or the last one that it has."""
    moment = EPOCH + timedelta(microseconds=start)
    month = moment.month % 12 + 1
    while True:
        moment += timedelta(days=1)
        if moment.month == month and moment.day == min(day, monthrange(moment.year, month)[1]):
            return (moment - EPOCH) // timedelta(microseconds=1)


class NaiveSubscription(Struct, kw_only=True):
    """`granted` is all that the plan has granted: how much, and until when."""

    at: Instant
    plan: str = "free"
    status: str = "active"
    credits: int = 0
    grace_days: int = 0
    heard: tuple[Instant, str] = (-1, "")
    start: Instant | None = None
    end: Instant | None = None
    anchor: int = 1
    renews: bool = False
    grace_until: Instant | None = None
    wish: tuple[str, int, int] | None = None
    """What follows the period: a plan, its credits and its days of grace; the plan `free` is the end."""
    wished_at: Instant = -1
    covered: tuple[Instant, Instant, int] | None = None
    granted: list[tuple[int, Instant]] = []  # msgspec copies the default

    def tell(self, told: Any) -> None:
        """The payment side says something; only the latest that has occurred counts."""
        if (told.occurred_at, told.reference) <= self.heard:
            return
        self.heard = (told.occurred_at, told.reference)
        if told.occurred_at > self.wished_at or told.status == "canceled":
            self.wish = None
        if told.status == "past_due":
            if self.grace_until is None:
                self.grace_until = self.at + told.terms.grace_days * DAY
        else:
            self.grace_until = None
        self.plan, self.status, self.renews = told.plan, told.status, told.renews_by_itself
        self.credits, self.grace_days = told.terms.monthly_credits, told.terms.grace_days
        paid = told.status in ("active", "trialing")
        if paid or self.start is None:
            self.start, self.end = told.period_start, told.period_end
            if self.start is None:
                self.start = self.at
                self.end = a_month_after(self.at, (EPOCH + timedelta(microseconds=self.at)).day)
            self.anchor = self._anchor()
            if paid:
                self._grant()
        elif told.period_start is not None:
            self.start, self.end = told.period_start, told.period_end
            self.anchor = self._anchor()

    def _anchor(self) -> int:
        assert self.start is not None
        assert self.end is not None
        begins, ends = (EPOCH + timedelta(microseconds=each) for each in (self.start, self.end))
        fits = ends.day == min(begins.day, monthrange(ends.year, ends.month)[1])
        return begins.day if fits else ends.day

    def wishes(self, plan: str, credits: int, grace_days: int, *, later: bool) -> None:
        """Its owner wants less, or the end."""
        if plan == self.plan:
            self.wish = None
        elif later and self.status != "past_due":
            if self.wish is None or self.wish[0] != plan:
                self.wish, self.wished_at = (plan, credits, grace_days), self.at
        else:
            self.wish, self.wished_at = (plan, credits, grace_days), self.at
            self._fulfil()

    def _fulfil(self) -> None:
        assert self.wish is not None
        self.heard = (max(self.heard[0], self.wished_at), self.heard[1])
        if self.wish[0] == "free":
            self.status = "canceled"
        else:
            self.plan, self.credits, self.grace_days = self.wish
        self.wish = None

    def wait(self, at: Instant) -> None:
        """Time passes, one end after the other."""
        self.at = at
        while self._overdue():
            if self.status == "past_due":
                self.status, self.wish = "canceled", None
            elif self.wish is not None:
                self._fulfil()
            elif self.status == "active" and self.renews:
                assert self.end is not None
                self.start, self.end = self.end, a_month_after(self.end, self.anchor)
                self._grant()
            else:
                assert self.end is not None
                self.status, self.grace_until = "past_due", self.end + self.grace_days * DAY

    def _overdue(self) -> bool:
        if self.plan == "free" or self.status == "canceled":
            return False
        end = self.grace_until if self.status == "past_due" else self.end
        return end is not None and end <= self.at

    def _grant(self) -> None:
        assert self.start is not None
        assert self.end is not None
        there = 0
        if self.covered is not None:
            since, until, amount = self.covered
            left = Fraction(max(until - max(self.start, since), 0), until - since)
            there = ceil(amount * left)
        wanted = 0 if self.plan == "free" else self.credits
        if wanted <= there:
            return
        self.granted.append((wanted - there, self.end))
        begins, ends = self.start, self.end
        if self.covered is not None and begins <= self.covered[0]:
            begins, ends = self.covered[0], max(ends, self.covered[1])
        self.covered = (begins, ends, wanted)
