"""Hears from workers which commands were decided, and knows how far that can be relied on."""

import asyncio
from collections.abc import Callable, Sequence

from api.background import ended
from eventstore.errors import StoreError
from eventstore.store import DecidedStore
from telemetry import logs, metrics

LISTEN_AGAIN_S = 1.0
EARLY_MAX = 2_000
"""Commands that were told of before anybody waited for them: a worker may be done before Kafka's acknowledgement is
here. Beyond it the oldest are forgotten."""
MISSED_MAX = 5
"""So many outcomes found by asking, with no word in between, and nobody relies on being told any more: workers of an
older release, or a pooler between here and PostgreSQL that does not pass notifications on."""

_told = metrics.counter("outcomes_told", "Commands of which a worker has said that they are decided.")


class Hearing:
    """Listens for as long as it runs, and hands each word to `told`."""

    def __init__(self, store: DecidedStore, told: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._hand_over = told
        self._listening = False
        self._missed = 0
        self._early: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get(part="outcomes")

    def start(self) -> None:
        """Begins to listen."""
        self._task = asyncio.create_task(self._run(), name="hearing")

    async def stop(self) -> None:
        """Ends the listening."""
        await ended(self._task)

    @property
    def reliable(self) -> bool:
        """Whether a word can be expected soon after a command was decided."""
        return self._listening and self._missed < MISSED_MAX

    def early(self, command_id: str) -> bool:
        """Whether a command nobody waited for was told of already. It is said once."""
        return self._early.pop(command_id, False) is None

    def nobody_waited(self, command_id: str) -> None:
        """Remembers a command that was told of, for who may wait for it in a moment."""
        self._early[command_id] = None
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]

    def missed(self) -> None:
        """An outcome was found by asking of which nothing was heard."""
        self._missed += 1

    def _heard(self, command_ids: Sequence[str]) -> None:
        self._missed = 0
        _told.inc(len(command_ids))
        self._hand_over(command_ids)

    def _begun(self) -> None:
        self._listening, self._missed = True, 0

    async def _run(self) -> None:
        while True:
            try:
                await self._store.hear_decided(self._heard, self._begun)
            except (StoreError, OSError) as error:
                self._log.warning("hearing_waits", error=type(error).__name__)
            except Exception:  # noqa: BLE001 (whatever it is: outcomes are asked for meanwhile, and it may pass)
                self._log.exception("hearing_waits")
            self._listening = False
            await asyncio.sleep(LISTEN_AGAIN_S)
