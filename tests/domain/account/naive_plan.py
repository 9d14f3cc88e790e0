"""The subscription of the naive account: what time and news make of it, and what its periods are granted."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from domain.instant import DAY, SECOND, Instant

GRACE = 7 * DAY


def day(at: Instant) -> date:
    """The day in UTC."""
    return datetime.fromtimestamp(at // SECOND, UTC).date()


def month_after(at: Instant, anchor: int) -> Instant:
    """The same time of day in the next month, on the anchor's day or on the month's last."""
    moment = at
    while day(moment).month == day(at).month:
        moment += DAY
    while day(moment).day != anchor and day(moment + DAY).month == day(moment).month:
        moment += DAY
    return moment


@dataclass
class NaivePlan:
    """`monthly` credits, and what becomes of them at the period's end (`next`: another amount, or "cancel")."""

    status: str = "none"
    monthly: int = 0
    renews: bool = False
    start: Instant | None = None
    end: Instant | None = None
    anchor: int = 1
    grace_until: Instant | None = None
    """Kept when it is over: who goes on not paying gets no other one."""
    next: int | str | None = None
    counted: tuple[Instant, Instant, int] | None = None
    """From when to when how much was granted in all."""

    def wakes(self) -> Instant | None:
        """When time changes it."""
        return {"active": self.end, "past_due": self.grace_until}.get(self.status)

    def told(self, at: Instant, monthly: int, renews: bool, status: str) -> int:
        """News from who is paid; answers what is granted for it."""
        amount = 0
        if status == "active":
            self.anchor = day(at).day
            amount = self._begin(at, monthly)
        self.grace_until = (self.grace_until or at + GRACE) if status == "past_due" else None
        self.status, self.monthly, self.renews, self.next = status, monthly, renews, None
        return amount

    def owner_wants(self, wanted: int | str, now: bool) -> str | None:
        """Its owner cancels or takes a smaller plan, at the period's end where it has one that was paid."""
        if self.status in ("none", "canceled"):
            return "no_subscription"
        if not self.renews:
            return "billed_elsewhere"
        if wanted == self.monthly:
            self.next = None
            return None
        if isinstance(wanted, int) and wanted > self.monthly:
            return "upgrade_not_paid"
        self.next = wanted
        if now or self.status == "past_due" or self.end is None:
            self._take_next()
        return None

    def period_over(self) -> int:
        """What happens when it wakes; answers what is granted then."""
        if self.status == "past_due":
            self.status, self.next = "canceled", None
        elif self.next is not None:
            self._take_next()
        elif self.renews:
            assert self.end is not None
            return self._begin(self.end, self.monthly)
        else:
            assert self.end is not None
            self.status, self.grace_until = "past_due", self.end + GRACE
        return 0

    def _take_next(self) -> None:
        if self.next == "cancel":
            self.status = "canceled"
        else:
            assert isinstance(self.next, int)
            self.monthly = self.next
        self.next = None

    def _begin(self, start: Instant, monthly: int) -> int:
        """A period of a month; what was granted before counts for the part of its time that is left, rounded up."""
        self.start, self.end = start, month_after(start, self.anchor)
        since, until, amount = self.counted or (0, 0, 0)
        left = amount * min(until - start, until - since)
        unused = -(-left // (until - since)) if left > 0 else 0
        if monthly <= unused:
            return 0
        if self.counted is not None and start <= since:
            self.counted = (since, max(self.end, until), monthly)
        else:
            self.counted = (start, self.end, monthly)
        return monthly - unused
