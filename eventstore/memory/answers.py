"""Answers kept for repeats of an `Idempotency-Key`."""

from domain.instant import Instant
from eventstore.memory.tables import Tables
from eventstore.records import KeptAnswer


class Answers(Tables):
    """See `store.SecretStore`."""

    async def keep_answer(self, answer: KeptAnswer) -> None:
        """See `store.SecretStore`."""
        self._answers.setdefault(answer.command_id, answer)

    async def kept_answer(self, shard: int, command_id: str) -> KeptAnswer | None:
        """See `store.SecretStore`."""
        del shard
        return self._answers.get(command_id)

    def forget_answers(self, at: Instant) -> int:
        """Deletes answers that expire by `at`; answers how many."""
        gone = [answer.command_id for answer in self._answers.values() if answer.expires_at <= at]
        for command_id in gone:
            del self._answers[command_id]
        return len(gone)
