"""What API processes tell each other about how often somebody asked: counts by subject and cell.

A cell is one window of the store's own clock: minute 29,381,204 since 1970, day 20,403. Which one it is, is decided by
the statement that adds to it, so no process needs a clock that agrees with another's.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from domain.instant import DAY, SECOND, Instant

MINUTE_S = 60
DAY_S = 86_400
LIVE: Instant = 10 * SECOND
"""A process that was not heard of for so long is not counted any more."""
ANNOUNCED: Instant = SECOND
"""How often a process says that it lives, however often it exchanges."""
SETTLED: Instant = 2 * SECOND
"""How long after a minute's end its counts may still grow: processes add theirs ten times a second."""
ORPHANED: Instant = 30 * SECOND
"""How long after a minute's end any process may report it, not only those that took part in it."""
UNREPORTED_KEPT: Instant = DAY
CELLS_KEPT = 2
"""Windows that have ended, and are kept beside the one that is under way."""


class RateDelta(Struct, frozen=True, kw_only=True, gc=False):
    """What a process has counted since it last told; zeros only ask. `reported`: its minutes go on record."""

    subject: str
    window_s: int
    admitted: int = 0
    refused: int = 0
    reported: bool = False


class Count(Struct, frozen=True, kw_only=True, gc=False):
    """Requests of a cell, and the sum of their times behind its begin: so their mean, which tells a burst's moment."""

    admitted: int = 0
    offsets_ms: int = 0

    def less(self, other: "Count") -> "Count":
        """What has come on top of another."""
        return Count(admitted=self.admitted - other.admitted, offsets_ms=self.offsets_ms - other.offsets_ms)


NOTHING = Count()


class RateTotal(Struct, frozen=True, kw_only=True, gc=False):
    """What all processes have admitted in the cell that is under way, and in the one before."""

    subject: str
    window_s: int
    cell: int
    now: Count
    before: Count


class RateExchange(Struct, frozen=True, kw_only=True):
    """The store's clock, how many API processes live (the asker included), and a total for each delta."""

    at: Instant
    processes: int
    totals: list[RateTotal]


class RateMinute(Struct, frozen=True, kw_only=True, gc=False):
    """A minute of a subject that is over, and not on record yet."""

    subject: str
    minute: Instant
    admitted: int
    refused: int
    last_at: Instant


class RateStore(Protocol):
    """The part of a store that API processes share their counts through."""

    async def exchange_rates(self, process: str, deltas: Sequence[RateDelta]) -> RateExchange:
        """Adds the deltas to the cells that are under way and answers the totals, in one statement.

        A (subject, window) may appear once. The process is announced by it.
        """
        ...

    async def ended_minutes(self, subjects: Sequence[str], limit: int) -> list[RateMinute]:
        """Minutes to be reported: of these subjects when they are settled, of all when nobody reported them."""
        ...

    async def minutes_reported(self, minutes: Sequence[RateMinute]) -> None:
        """Takes minutes off the list; a total that has grown meanwhile stays on it."""
        ...
