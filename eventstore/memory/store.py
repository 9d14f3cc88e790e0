"""The store in memory, put together of its parts: devnet's store, and the reference of the one in Postgres.

Every read sees committed data only; what a round writes is staged and applied at its commit, after the fence has been
checked once more, so that it can do nothing that Postgres could not. Nothing here ever waits, but for `pause`.
"""

from domain.instant import Instant
from eventstore.memory.answers import Answers
from eventstore.memory.attempts import FailedAttempts
from eventstore.memory.dead_letters import DeadLetters
from eventstore.memory.outbox import Outbox
from eventstore.memory.rates import Rates
from eventstore.memory.rounds import Rounds


class MemoryStore(Rounds, Answers, DeadLetters, Rates, FailedAttempts, Outbox):
    """See `store.Store`. `clock` tells leases the time, as Postgres's own clock does there."""

    async def purge(self, at: Instant) -> int:
        """See `store.LogStore`."""
        forgotten = self.forget_secrets(at) + self.forget_answers(at)
        return forgotten + self.forget_rates(at) + self.purge_attempts(at)

    async def close(self) -> None:
        """See `store.Store`."""
