"""`answers`: answers kept, sealed, for repeats of an `Idempotency-Key`."""

from domain.instant import Instant
from eventstore.postgres.outcomes import PURGED_AT_ONCE
from eventstore.postgres.pool import Part
from eventstore.records import KeptAnswer

KEEP = """
INSERT INTO answers (shard, command_id, attempt, sealed, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (shard, command_id) DO NOTHING
"""

READ = """
SELECT shard, command_id, attempt, sealed, expires_at FROM answers WHERE shard = $1 AND command_id = $2
"""

PURGE = """
WITH stale AS (
    SELECT shard, command_id FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
)
DELETE FROM answers USING stale
WHERE answers.shard = stale.shard AND answers.command_id = stale.command_id
RETURNING 1
"""


class Answers(Part):
    """The answers of `store.SecretStore`."""

    async def keep_answer(self, answer: KeptAnswer) -> None:
        """See `store.SecretStore`."""
        await self._pool.fetch(KEEP, answer.shard, answer.command_id, answer.attempt, answer.sealed, answer.expires_at)

    async def kept_answer(self, shard: int, command_id: str) -> KeptAnswer | None:
        """See `store.SecretStore`."""
        row = await self._pool.fetchrow(READ, shard, command_id)
        return None if row is None else KeptAnswer(**row)

    async def forget_answers(self, at: Instant) -> int:
        """Deletes answers that expire by `at`, a bounded number at a time; answers how many."""
        forgotten = 0
        while rows := await self._pool.fetch(PURGE, at, PURGED_AT_ONCE):
            forgotten += len(rows)
        return forgotten
