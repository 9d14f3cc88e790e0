"""The store in PostgreSQL, put together of its parts."""

from typing import Self

from domain.instant import Instant
from eventstore.postgres.answers import Answers
from eventstore.postgres.attempts import FailedAttempts
from eventstore.postgres.data_keys import DataKeys
from eventstore.postgres.dead_letters import DeadLetters
from eventstore.postgres.leases import Leases
from eventstore.postgres.migrations import Meta
from eventstore.postgres.outbox import Outbox
from eventstore.postgres.outcomes import Outcomes
from eventstore.postgres.pool import Pool
from eventstore.postgres.rates import Rates
from eventstore.postgres.refusals import Refusals
from eventstore.postgres.rounds import Rounds
from eventstore.postgres.streams import Streams

CONNECTIONS_MAX = 10


class PostgresStore(
    Meta,
    Rounds,
    Leases,
    Streams,
    Outcomes,
    Refusals,
    DataKeys,
    Answers,
    DeadLetters,
    Rates,
    FailedAttempts,
    Outbox,
):
    """See `store.Store`. The tables are made by `migrations.migrate`."""

    @classmethod
    async def open(cls, url: str, application: str, *, connections_max: int = CONNECTIONS_MAX) -> Self:
        """A store on `url`; `application` is one of the names in `pool`. Connects when it is first used."""
        return cls(await Pool.open(url, application, connections_max=connections_max))

    @property
    def pool(self) -> Pool:
        """The connections, for the document store and whoever else reads this database."""
        return self._pool

    async def purge(self, at: Instant) -> int:
        """See `store.LogStore`."""
        forgotten = await self.forget_secrets(at) + await self.forget_answers(at)
        return forgotten + await self.forget_rates(at) + await self.purge_attempts(at)

    async def close(self) -> None:
        """See `store.Store`."""
        await self._pool.close()
