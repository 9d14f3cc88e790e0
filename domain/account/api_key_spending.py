"""What each API key has spent and holds, by which its credit limit is enforced exactly.

The account's single writer decides: a hold is placed for a key only where what the key has spent in the period, what
its open holds reserve and the new hold together stay within the limit. A settlement may cost more than its hold
and so exceed the limit once; then the key has nothing left. What a key spends counts at the time at which its hold is
closed, and for keys without a limit too, so that a limit that is set later knows what its period has cost before.
"""

from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import Struct, field

from domain.account.api_key_limits import CreditPeriod, KeyLimits
from domain.account.api_keys import ApiKeyRevoked
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.errors import PaymentRequired
from domain.instant import DAY, Instant, format_instant, instant_of, moment_of
from domain.money import MicroCredits

EVENTS = (HoldPlaced, HoldClosed, HoldCorrected, ApiKeyRevoked)
"""Of other parts; this one has none of its own."""
Followed: TypeAlias = HoldPlaced | HoldClosed | HoldCorrected | ApiKeyRevoked


class KeySpending(Struct, kw_only=True, omit_defaults=True, gc=False):
    """Of one key: what its open holds reserve, and what it spent in all, on its last day and in its last month."""

    held: MicroCredits = 0
    total: MicroCredits = 0
    day: MicroCredits = 0
    day_ends: Instant = 0
    month: MicroCredits = 0
    month_ends: Instant = 0

    def spent(self, period: CreditPeriod, at: Instant) -> MicroCredits:
        """What was spent in the period that `at` lies in."""
        match period:
            case "total":
                return self.total
            case "day":
                return self.day if at < self.day_ends else 0
            case "month":
                return self.month if at < self.month_ends else 0

    def roll(self, at: Instant) -> None:
        """Begins a new day or month, if `at` lies in one. Changes the spending; only `evolve` calls it."""
        if at >= self.day_ends:
            self.day, self.day_ends = 0, period_end("day", at) or 0
        if at >= self.month_ends:
            self.month, self.month_ends = 0, period_end("month", at) or 0


class ApiKeySpending(Struct, kw_only=True):
    """By key; a key that is revoked is forgotten."""

    keys: dict[str, KeySpending] = field(default_factory=dict)

    def left(self, key_id: str, limits: KeyLimits, at: Instant) -> MicroCredits | None:
        """What new holds of the key can take, never below zero; `None` without a limit."""
        if limits.credit_limit is None:
            return None
        spending = self.keys.get(key_id)
        if spending is None:
            return limits.credit_limit
        return max(limits.credit_limit - spending.spent(limits.credit_period, at) - spending.held, 0)

    def grant(
        self, key_id: str, limits: KeyLimits, amount: MicroCredits, amount_min: MicroCredits, at: Instant
    ) -> MicroCredits:
        """How much of `amount` the key may hold; `PaymentRequired` where that is nothing, or less than `amount_min`."""
        left = self.left(key_id, limits, at)
        if left is None or left >= amount:
            return amount
        if left < max(amount_min, 1):
            resets_at = period_end(limits.credit_period, at)
            raise PaymentRequired(
                "key_credit_limit_exceeded",
                "The API key's own credit limit does not allow this request.",
                required=amount_min,
                available=left,
                credit_limit=limits.credit_limit,
                period=limits.credit_period,
                resets_at=None if resets_at is None else format_instant(resets_at),
            )
        return left


def period_end(period: CreditPeriod, at: Instant) -> Instant | None:
    """When the period that `at` lies in ends (UTC); `None` for ever."""
    match period:
        case "total":
            return None
        case "day":
            return at - at % DAY + DAY
        case "month":
            now = moment_of(at)
            years, month = divmod(now.month, 12)
            return instant_of(datetime(now.year + years, month + 1, 1, tzinfo=UTC))


def evolve(spending: ApiKeySpending, event: Followed) -> None:
    """Counts what a key's holds reserve and cost."""
    if isinstance(event, ApiKeyRevoked):
        spending.keys.pop(event.key_id, None)
        return
    if event.key_id is None:
        return
    if isinstance(event, HoldPlaced):
        spending.keys.setdefault(event.key_id, KeySpending()).held += event.amount
        return
    key = spending.keys.get(event.key_id)
    if key is None:  # revoked since
        return
    if isinstance(event, HoldClosed):
        key.roll(event.closed_at)
        key.held -= event.amount
        key.total += event.cost
        key.day += event.cost
        key.month += event.cost
    else:
        _correct(key, event)


def _correct(key: KeySpending, event: HoldCorrected) -> None:
    """In the period in which the hold was closed, if that is still the present one."""
    key.roll(event.corrected_at)
    key.total += event.difference
    if period_end("day", event.closed_at) == key.day_ends:
        key.day += event.difference
    if period_end("month", event.closed_at) == key.month_ends:
        key.month += event.difference
