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


@dataclass(frozen=True)
class Offer:
    """A plan: `monthly` credits, of a plan by the seat for each seat."""

    monthly: int
    by_seat: bool = False

    def worth(self, seats: int | None) -> int:
        """What a month is granted, and costs."""
        return self.monthly * (seats or 1) if self.by_seat else self.monthly


NOTHING = Offer(0)


@dataclass
class NaivePlan:
    """A plan with its seats, and what becomes of them at the period's end (`next`: others, or "cancel")."""

    status: str = "none"
    offer: Offer = NOTHING
    seats: int | None = None
    renews: bool = False
    start: Instant | None = None
    end: Instant | None = None
    anchor: int = 1
    grace_until: Instant | None = None
    """Kept when it is over: who goes on not paying gets no other one."""
    next: tuple[Offer, int | None] | str | None = None
    counted: tuple[Instant, Instant, int] | None = None
    """From when to when how much was granted in all."""

    def wakes(self) -> Instant | None:
        """When time changes it."""
        return {"active": self.end, "trialing": self.end, "past_due": self.grace_until}.get(self.status)

    def told(self, at: Instant, offer: Offer, seats: int | None, renews: bool, status: str, trial_days: int) -> int:
        """News from who is paid; answers what is granted for it. Seats are those told, those there were, or one."""
        if offer.by_seat and seats is None:
            seats = (self.seats or 1) if offer == self.offer else 1
        amount = 0
        if status in ("active", "trialing"):
            self.anchor = day(at).day
            end = month_after(at, self.anchor)
            if status == "trialing" and trial_days:
                end = at + trial_days * DAY
                last = day(end + DAY).month != day(end).month
                if day(end).day != self.anchor and not (last and day(end).day < self.anchor):
                    self.anchor = day(end).day
            amount = self._begin(at, end, offer.worth(seats))
        elif self.start is None:
            self.anchor = day(at).day
            self.start, self.end = at, month_after(at, self.anchor)
        self.grace_until = (self.grace_until or at + GRACE) if status == "past_due" else None
        self.status, self.offer, self.seats, self.renews, self.next = status, offer, seats, renews, None
        return amount

    def owner_wants(self, wanted: Offer | None, seats: int | None, now: bool) -> str | None:
        """Its owner takes another plan or seats that cost no more, at the period's end where it has one."""
        refusal = self._not_owned()
        if refusal is not None:
            return refusal
        other = wanted is not None and wanted != self.offer
        offer = wanted if other and wanted is not None else self.offer
        if seats is None:
            seats = ((self.seats or 1) if offer.by_seat else None) if other else self.seats
        if (offer, seats) == (self.offer, self.seats):
            self.next = None
        elif offer.worth(seats) > self.offer.worth(self.seats):
            return "upgrade_not_paid"
        else:
            self._at_the_end((offer, seats), now)
        return None

    def owner_cancels(self, now: bool) -> str | None:
        """Its owner ends it."""
        refusal = self._not_owned()
        if refusal is None:
            self._at_the_end("cancel", now)
        return refusal

    def _not_owned(self) -> str | None:
        if self.status in ("none", "canceled"):
            return "no_subscription"
        return None if self.renews else "billed_elsewhere"

    def _at_the_end(self, what: tuple[Offer, int | None] | str, now: bool) -> None:
        self.next = what
        if now or self.status == "past_due" or self.end is None:
            self._take_next()

    def period_over(self) -> int:
        """What happens when it wakes; answers what is granted then. A trial that nobody has paid for is past due."""
        if self.status == "past_due":
            self.status, self.next = "canceled", None
        elif self.next is not None:
            self._take_next()
        elif self.status == "active" and self.renews:
            assert self.end is not None
            return self._begin(self.end, month_after(self.end, self.anchor), self.offer.worth(self.seats))
        else:
            assert self.end is not None
            self.status, self.grace_until = "past_due", self.end + GRACE
        return 0

    def _take_next(self) -> None:
        if isinstance(self.next, tuple):
            self.offer, self.seats = self.next
        else:
            self.status = "canceled"
        self.next = None

    def _begin(self, start: Instant, end: Instant, monthly: int) -> int:
        """A period; what was granted before counts for the part of its time that is left, rounded up."""
        self.start, self.end = start, end
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
