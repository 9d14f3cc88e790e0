"""How much of a quota is used in a day or a month, and when it begins anew.

Where days begin is told with each command, since the domain knows no time zones; what counts is what was counted here.
A window that has begun ends when it was said to end. The next one begins with the first day (or month) that lies
wholly behind it: one that overlaps it makes it longer instead. So no change of the time zone gives a second quota.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.instant import Instant

Level: TypeAlias = Literal[0, 80, 100]
"""How much of a quota is used, in percent, as far as it is told."""


class Asked(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The window that an API counts in, and what it allows; `limit` `None` only counts."""

    limit: int | None
    starts_at: Instant
    ends_at: Instant
    next_ends_at: Instant
    """Of the window after it: a command may be decided a moment after midnight."""


class Counted(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A window, and what is used of it after this."""

    starts_at: Instant
    ends_at: Instant
    used: int
    limit: int | None

    @property
    def left(self) -> int | None:
        """What is left, never below zero; `None` is unlimited."""
        return None if self.limit is None else max(self.limit - self.used, 0)

    def at(self, now: Instant) -> "Counted | None":
        """The same while its window lasts."""
        return self if now < self.ends_at else None


class Counter(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The last window that was counted in, and what of it the account was told."""

    starts_at: Instant = 0
    ends_at: Instant = 0
    used: int = 0
    told: Level = 0
    told_limit: int | None = None
    """A limit that was raised since is told anew."""

    def with_more(self, asked: Asked, amount: int, at: Instant) -> Counted:
        """The window that `at` falls into, with `amount` more used, whether the limit allows that or not."""
        if at < self.ends_at:
            return Counted(starts_at=self.starts_at, ends_at=self.ends_at, used=self.used + amount, limit=asked.limit)
        starts_at, ends_at = asked.starts_at, asked.ends_at
        if ends_at <= at:
            starts_at, ends_at = ends_at, max(asked.next_ends_at, at + 1)
        if starts_at < self.ends_at:
            return Counted(starts_at=self.starts_at, ends_at=ends_at, used=self.used + amount, limit=asked.limit)
        return Counted(starts_at=starts_at, ends_at=ends_at, used=amount, limit=asked.limit)

    def newly_reached(self, counted: Counted) -> Level:
        """The level that `counted` has reached and that was not told yet; 0 if there is none."""
        reached = level(counted)
        told = self.told if self.starts_at == counted.starts_at and self.told_limit == counted.limit else 0
        return reached if reached > told else 0

    def take(self, counted: Counted) -> None:
        """Writes down what was counted. Changes the counter; only `evolve` calls it."""
        if counted.starts_at != self.starts_at:
            self.told, self.told_limit = 0, None
        self.starts_at, self.ends_at, self.used = counted.starts_at, counted.ends_at, counted.used

    def tell(self, reached: Level, limit: int) -> None:
        """Writes down what was told. Changes the counter; only `evolve` calls it."""
        self.told, self.told_limit = reached, limit


def level(counted: Counted) -> Level:
    """What the account is told of, if anything."""
    if counted.limit is None or counted.used * 5 < counted.limit * 4:
        return 0
    return 100 if counted.used >= counted.limit else 80
