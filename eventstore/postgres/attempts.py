"""`attempts`: failures that API processes share."""

from domain.instant import SECOND, Instant
from eventstore.attempts import FORGOTTEN, Allowance, Attempts
from eventstore.postgres.pool import Part

# One statement decides and counts: whoever else counts the same subject waits for its row, and looks at what is there
# then. A time in the future is of before the clock was put back, and makes nobody wait.
COUNT = """
WITH moment AS MATERIALIZED (
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at
), counted AS (
    INSERT INTO attempts AS known (subject, failures, last_at) SELECT $1, 1, at FROM moment
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN known.last_at <= excluded.last_at - $5::bigint THEN 1 ELSE known.failures + 1 END,
        last_at = excluded.last_at
    WHERE known.last_at > excluded.last_at OR known.last_at <= excluded.last_at - $5::bigint
        OR known.failures < $2::integer
        OR known.last_at + least(
            $3::bigint * (2 ^ least(known.failures - $2::integer, 30))::bigint, $4::bigint
        ) <= excluded.last_at
    RETURNING failures
)
SELECT moment.at, counted.failures, known.failures AS known_failures, known.last_at,
    (SELECT set_config('synchronous_commit', 'off', true))
FROM moment LEFT JOIN counted ON true LEFT JOIN attempts AS known ON known.subject = $1
"""

TAKE_BACK = """
WITH gone AS (DELETE FROM attempts WHERE subject = $1 AND failures <= 1)
UPDATE attempts SET failures = failures - 1 WHERE subject = $1 AND failures > 1
"""

FORGET = "DELETE FROM attempts WHERE subject = $1"

PURGE = """
WITH stale AS (SELECT subject FROM attempts WHERE last_at <= $1 ORDER BY last_at LIMIT $2)
DELETE FROM attempts USING stale WHERE attempts.subject = stale.subject AND attempts.last_at <= $1 RETURNING 1
"""

PURGED_AT_ONCE = 5_000


class FailedAttempts(Part):
    """See `attempts.AttemptStore`."""

    async def count_attempt(self, subject: str, allowance: Allowance) -> Attempts:
        """See `attempts.AttemptStore`."""
        first, longest = allowance.first_s * SECOND, allowance.longest_s * SECOND
        row = await self._pool.fetchrow(COUNT, subject, allowance.free, first, longest, FORGOTTEN)
        assert row is not None, "there is always a moment"
        at, counted, failures, last_at, _ = row
        if counted is not None:
            return Attempts(failures=counted)
        failures = failures or allowance.free  # counted by another process while this one waited for its row
        wait = (at if last_at is None else last_at) + allowance.wait(failures) - at
        return Attempts(failures=failures, wait=max(wait, 1))

    async def take_back_attempt(self, subject: str) -> None:
        """See `attempts.AttemptStore`."""
        await self._pool.fetch(TAKE_BACK, subject)

    async def forget_attempts(self, subject: str) -> None:
        """See `attempts.AttemptStore`."""
        await self._pool.fetch(FORGET, subject)

    async def purge_attempts(self, at: Instant) -> int:
        """Deletes whoever has not failed for long, a bounded number at a time; answers how many."""
        forgotten = 0
        while rows := await self._pool.fetch(PURGE, at - FORGOTTEN, PURGED_AT_ONCE):
            forgotten += len(rows)
        return forgotten
