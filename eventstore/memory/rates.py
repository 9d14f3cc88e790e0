"""Rate cells in memory: one process, but the same arithmetic as in Postgres."""

from collections.abc import Sequence

from domain.instant import SECOND, Instant
from eventstore.memory.tables import RateCell, Tables
from eventstore.rates import (
    CELLS_KEPT,
    LIVE,
    MINUTE_S,
    NOTHING,
    ORPHANED,
    SETTLED,
    UNREPORTED_KEPT,
    Count,
    RateDelta,
    RateExchange,
    RateMinute,
    RateTotal,
)


def _count(cell: RateCell | None) -> Count:
    return NOTHING if cell is None else Count(admitted=cell.admitted, offsets_ms=cell.offsets_ms)


class Rates(Tables):
    """See `rates.RateStore`."""

    async def exchange_rates(self, process: str, deltas: Sequence[RateDelta]) -> RateExchange:
        """See `rates.RateStore`."""
        at = self._clock()
        self._api_processes[process] = at
        live = sum(1 for name, seen_at in self._api_processes.items() if name == process or seen_at > at - LIVE)
        return RateExchange(at=at, processes=live, totals=[self._added(delta, at) for delta in deltas])

    def _added(self, delta: RateDelta, at: Instant) -> RateTotal:
        subject, window_s = delta.subject, delta.window_s
        number = at // (window_s * SECOND)
        cell = self._rate_cells.get((subject, window_s, number))
        if delta.admitted or delta.refused:
            cell = self._rate_cells.setdefault((subject, window_s, number), RateCell())
            cell.admitted += delta.admitted
            cell.offsets_ms += delta.admitted * (at % (window_s * SECOND) // 1_000)
            cell.refused += delta.refused
            cell.last_at = max(cell.last_at, at)
            cell.unreported = delta.reported
        previous = self._rate_cells.get((subject, window_s, number - 1))
        return RateTotal(
            subject=subject,
            window_s=window_s,
            cell=number,
            now=_count(cell),
            before=_count(previous),
        )

    async def ended_minutes(self, subjects: Sequence[str], limit: int) -> list[RateMinute]:
        """See `rates.RateStore`."""
        at, mine = self._clock(), set(subjects)
        found = []
        for (subject, window_s, number), cell in sorted(self._rate_cells.items(), key=lambda each: each[0][::-1]):
            patience = SETTLED if subject in mine else ORPHANED
            if cell.unreported and window_s == MINUTE_S and (number + 1) * MINUTE_S * SECOND <= at - patience:
                found.append(
                    RateMinute(
                        subject=subject,
                        minute=number * MINUTE_S * SECOND,
                        admitted=cell.admitted,
                        refused=cell.refused,
                        last_at=cell.last_at,
                    )
                )
        return found[:limit]

    async def minutes_reported(self, minutes: Sequence[RateMinute]) -> None:
        """See `rates.RateStore`."""
        for each in minutes:
            cell = self._rate_cells.get((each.subject, MINUTE_S, each.minute // (MINUTE_S * SECOND)))
            if cell is not None and (cell.admitted, cell.refused) == (each.admitted, each.refused):
                cell.unreported = False

    def forget_rates(self, at: Instant) -> int:
        """Drops cells that no window reaches back to, unless they still have to be reported."""

        def over(key: tuple[str, int, int], cell: RateCell) -> bool:
            ended = (key[2] + 1 + CELLS_KEPT) * key[1] * SECOND
            return ended <= (at - UNREPORTED_KEPT if cell.unreported else at)

        stale = [key for key, cell in self._rate_cells.items() if over(key, cell)]
        for key in stale:
            del self._rate_cells[key]
        return len(stale)
