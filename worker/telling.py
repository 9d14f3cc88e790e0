"""Tells API processes which commands have just been decided, so that they need not ask again and again."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from eventstore.errors import StoreError
from eventstore.records import Outcome
from eventstore.store import DecidedStore

log = structlog.get_logger(__name__)

WAITING_MAX = 5_000
"""Commands that are told in one go; more, while the store is slow, are left to those who ask."""


class Teller:
    """Tells in the background, one statement at a time: what is decided meanwhile goes with the next one.

    It may fail, and nothing is lost by it: whoever waits for a command asks for it by himself after a while.
    """

    def __init__(self, store: DecidedStore) -> None:
        self._store = store
        self._untold: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """These were committed; to be called in the event loop, and does not wait."""
        self._untold += [outcome.command_id for outcome in outcomes[: WAITING_MAX - len(self._untold)]]
        if self._untold and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._tell(), name="telling")

    async def _tell(self) -> None:
        while self._untold:
            told, self._untold = self._untold, []
            try:
                await self._store.tell_decided(told)
            except (StoreError, OSError) as error:
                log.info("decided_untold", commands=len(told), reason=str(error) or type(error).__name__)

    async def close(self) -> None:
        """Ends it, whatever is not told yet."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
