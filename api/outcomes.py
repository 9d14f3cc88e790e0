"""Waits for outcomes: one poller per process asks for all awaited ids in one query."""

from collections.abc import Iterable

from eventstore.records import Outcome
from eventstore.store import Store

WAITERS_MAX = 10_000


class OutcomePoller:
    """See the module. `start` before the first `wait`; `stop` lets every waiter end empty-handed."""

    def __init__(self, store: Store, *, waiters_max: int = WAITERS_MAX) -> None:
        self._store = store
        self._waiters_max = waiters_max

    async def wait(self, shard: int, command_id: str, attempt: str, timeout_s: float) -> Outcome | None:
        """The outcome that settles the attempt, or `None` after `timeout_s`. 503 `overloaded` past the bound."""
        raise NotImplementedError

    def poke(self, command_ids: Iterable[str]) -> None:
        """Says that these outcomes were committed just now: they are read at once (devnet's short cut)."""
        raise NotImplementedError
