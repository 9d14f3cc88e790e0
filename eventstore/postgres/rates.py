"""`rate_cells` and `api_processes`: counts that API processes share, and how many of them there are."""

from collections.abc import Sequence

from domain.instant import SECOND, Instant
from eventstore.postgres.pool import Part
from eventstore.rates import (
    ANNOUNCED,
    CELLS_KEPT,
    LIVE,
    MINUTE_S,
    ORPHANED,
    SETTLED,
    UNREPORTED_KEPT,
    Count,
    RateDelta,
    RateExchange,
    RateMinute,
    RateTotal,
)

# One statement, so that a process pays one exchange however many subjects are active. Rows are added in sorted order:
# two processes can wait for each other's rows, but never each for the other's. A crash of the server may lose the
# last half second of counts, which is what waiting for no disk costs.
EXCHANGE = """
WITH moment AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at
), asked AS MATERIALIZED (
    SELECT a.*, moment.at, moment.at / (a.window_s * 1000000::bigint) AS cell,
        a.admitted * (moment.at % (a.window_s * 1000000::bigint) / 1000) AS offsets_ms
    FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::boolean[])
        AS a (subject, window_s, admitted, refused, unreported), moment
), announced AS (
    INSERT INTO api_processes AS known (process, seen_at) SELECT $1, at FROM moment
    ON CONFLICT (process) DO UPDATE SET seen_at = excluded.seen_at
    WHERE known.seen_at NOT BETWEEN excluded.seen_at - $8::bigint AND excluded.seen_at
), added AS (
    INSERT INTO rate_cells AS known
        (subject, window_s, cell, ends_at, admitted, refused, offsets_ms, last_at, unreported)
    SELECT
        subject, window_s, cell, (cell + 1) * window_s * 1000000, admitted, refused, offsets_ms, at, unreported
    FROM asked
    WHERE admitted > 0 OR refused > 0
    ORDER BY subject, window_s
    ON CONFLICT (subject, window_s, cell) DO UPDATE SET
        admitted = known.admitted + excluded.admitted,
        refused = known.refused + excluded.refused,
        offsets_ms = known.offsets_ms + excluded.offsets_ms,
        last_at = greatest(known.last_at, excluded.last_at),
        unreported = excluded.unreported
    RETURNING subject, window_s, cell, admitted, offsets_ms
), totals AS (
    SELECT * FROM added
    UNION ALL
    SELECT asked.subject, asked.window_s, asked.cell, coalesce(found.admitted, 0), coalesce(found.offsets_ms, 0)
    FROM asked LEFT JOIN LATERAL (
        SELECT r.admitted, r.offsets_ms FROM rate_cells r
        WHERE r.subject = asked.subject AND r.window_s = asked.window_s AND r.cell = asked.cell LIMIT 1
    ) AS found ON true
    WHERE asked.admitted = 0 AND asked.refused = 0
)
SELECT
    moment.at,
    (SELECT count(*) FROM api_processes WHERE process <> $1 AND seen_at > moment.at - $7::bigint) + 1 AS processes,
    (SELECT set_config('synchronous_commit', 'off', true)),
    totals.subject, totals.window_s, totals.cell, totals.admitted, totals.offsets_ms,
    coalesce(before.admitted, 0), coalesce(before.offsets_ms, 0)
FROM moment LEFT JOIN totals ON true LEFT JOIN LATERAL (
    SELECT r.admitted, r.offsets_ms FROM rate_cells r
    WHERE r.subject = totals.subject AND r.window_s = totals.window_s AND r.cell = totals.cell - 1 LIMIT 1
) AS before ON true
"""

ENDED = """
WITH moment AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at)
SELECT subject, cell * 60000000 AS minute, admitted, refused, last_at
FROM rate_cells
WHERE unreported AND window_s = 60 AND ends_at <= (SELECT at FROM moment) - $2::bigint
    AND (subject = ANY($1::text[]) OR ends_at <= (SELECT at FROM moment) - $3::bigint)
ORDER BY ends_at, subject LIMIT $4
"""

REPORTED = """
UPDATE rate_cells AS cells SET unreported = false
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS told (subject, cell, admitted, refused),
    LATERAL (
        SELECT r.ctid FROM rate_cells r
        WHERE r.subject = told.subject AND r.window_s = 60 AND r.cell = told.cell
            AND r.admitted = told.admitted AND r.refused = told.refused LIMIT 1
    ) AS found
WHERE cells.ctid = found.ctid
"""

PURGE = """
WITH stale AS (
    SELECT subject, window_s, cell FROM rate_cells
    WHERE ends_at <= $1::bigint
        AND ends_at <= $1 - CASE WHEN unreported THEN $2::bigint ELSE 0 END - window_s * $3::bigint
    ORDER BY ends_at LIMIT $4
)
DELETE FROM rate_cells AS r USING stale
WHERE r.subject = stale.subject AND r.window_s = stale.window_s AND r.cell = stale.cell
RETURNING 1
"""

PURGE_PROCESSES = "DELETE FROM api_processes WHERE seen_at <= $1 RETURNING 1"

PURGED_AT_ONCE = 5_000


class Rates(Part):
    """See `rates.RateStore`."""

    async def exchange_rates(self, process: str, deltas: Sequence[RateDelta]) -> RateExchange:
        """See `rates.RateStore`."""
        rows = await self._pool.fetch(
            EXCHANGE,
            process,
            [delta.subject for delta in deltas],
            [delta.window_s for delta in deltas],
            [delta.admitted for delta in deltas],
            [delta.refused for delta in deltas],
            [delta.reported for delta in deltas],
            LIVE,
            ANNOUNCED,
        )
        totals = [
            RateTotal(
                subject=subject,
                window_s=window_s,
                cell=cell,
                now=Count(admitted=admitted, offsets_ms=offsets_ms),
                before=Count(admitted=earlier, offsets_ms=earlier_offsets_ms),
            )
            for _, _, _, subject, window_s, cell, admitted, offsets_ms, earlier, earlier_offsets_ms in rows
            if subject is not None
        ]
        return RateExchange(at=rows[0]["at"], processes=rows[0]["processes"], totals=totals)

    async def ended_minutes(self, subjects: Sequence[str], limit: int) -> list[RateMinute]:
        """See `rates.RateStore`."""
        rows = await self._pool.fetch(ENDED, list(subjects), SETTLED, ORPHANED, limit)
        return [RateMinute(**row) for row in rows]

    async def minutes_reported(self, minutes: Sequence[RateMinute]) -> None:
        """See `rates.RateStore`."""
        await self._pool.fetch(
            REPORTED,
            [each.subject for each in minutes],
            [each.minute // (MINUTE_S * SECOND) for each in minutes],
            [each.admitted for each in minutes],
            [each.refused for each in minutes],
        )

    async def forget_rates(self, at: Instant) -> int:
        """Deletes cells that no window reaches back to, a bounded number at a time; answers how many."""
        forgotten = len(await self._pool.fetch(PURGE_PROCESSES, at - UNREPORTED_KEPT))
        while rows := await self._pool.fetch(PURGE, at, UNREPORTED_KEPT, CELLS_KEPT * SECOND, PURGED_AT_ONCE):
            forgotten += len(rows)
        return forgotten
