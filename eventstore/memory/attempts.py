"""Failed attempts in memory: one process, but the same arithmetic as in Postgres."""

from domain.instant import Instant
from eventstore.attempts import FORGOTTEN, Allowance, Attempts
from eventstore.memory.tables import Tables


class FailedAttempts(Tables):
    """See `attempts.AttemptStore`."""

    async def count_attempt(self, subject: str, allowance: Allowance) -> Attempts:
        """See `attempts.AttemptStore`."""
        at = self._clock()
        failures, last_at = self._attempts.get(subject, (0, at))
        if last_at <= at - FORGOTTEN:
            failures = 0
        wait = last_at + allowance.wait(failures) - at
        if wait > 0 and last_at <= at:
            return Attempts(failures=failures, wait=wait)
        self._attempts[subject] = failures + 1, at
        return Attempts(failures=failures + 1)

    async def take_back_attempt(self, subject: str) -> None:
        """See `attempts.AttemptStore`."""
        failures, last_at = self._attempts.pop(subject, (0, 0))
        if failures > 1:
            self._attempts[subject] = failures - 1, last_at

    async def forget_attempts(self, subject: str) -> None:
        """See `attempts.AttemptStore`."""
        self._attempts.pop(subject, None)

    def purge_attempts(self, at: Instant) -> int:
        """Forgets whoever has not failed for long; answers how many."""
        stale = [subject for subject, (_, last_at) in self._attempts.items() if last_at <= at - FORGOTTEN]
        for subject in stale:
            del self._attempts[subject]
        return len(stale)
