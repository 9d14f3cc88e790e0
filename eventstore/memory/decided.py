"""Word of decided commands, within one process."""

import asyncio
from collections.abc import Callable, Sequence

from eventstore.memory.tables import Tables


class Decided(Tables):
    """See `store.DecidedStore`."""

    async def tell_decided(self, command_ids: Sequence[str]) -> None:
        """See `store.DecidedStore`."""
        for heard in list(self._listeners):
            heard(command_ids)

    async def hear_decided(self, heard: Callable[[Sequence[str]], None], listening: Callable[[], None]) -> None:
        """See `store.DecidedStore`."""
        self._listeners.append(heard)
        try:
            listening()
            await asyncio.Event().wait()
        finally:
            self._listeners.remove(heard)
