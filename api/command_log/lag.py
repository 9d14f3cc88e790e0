"""How far the workers are behind: what the log holds and no worker has applied yet, by shard.

The number is renewed in the background, so that asking costs nothing; while log or store cannot be read it stays.
"""

import asyncio
from collections.abc import Mapping

from api.background import ended
from api.command_log.bus import BusError, BusOverloaded, CommandBus
from eventstore.errors import StoreError
from eventstore.store import Store
from telemetry import logs, metrics

READ_EVERY_S = 1.0
SHARD_BEHIND_MAX = 10_000
"""So many commands take a shard longer than clients wait for one: more would only fill log and memory."""

_behind = metrics.gauge(
    "commands_behind", "Commands in the log that no worker has applied yet, as this process sees it."
)
_shed = metrics.counter("commands_shed", "Commands refused because the workers are too far behind.")


class Lag:
    """See the module. `shard_behind_max`: a shard with more commands than this takes no new work."""

    def __init__(self, store: Store, bus: CommandBus, *, shard_behind_max: int = SHARD_BEHIND_MAX) -> None:
        self._store = store
        self._bus = bus
        self._shard_behind_max = shard_behind_max
        self._by_shard: Mapping[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get(part="lag")

    @property
    def total(self) -> int | None:
        """Commands of all shards that are not applied yet; `None` before the first reading."""
        return None if self._by_shard is None else sum(self._by_shard.values())

    def admit(self, shard: int) -> None:
        """Lets new work pass, or raises `BusOverloaded`."""
        behind = 0 if self._by_shard is None else self._by_shard.get(shard, 0)
        if behind > self._shard_behind_max:
            _shed.inc()
            raise BusOverloaded(f"shard {shard} is {behind} commands behind")

    async def read(self) -> None:
        """Reads it anew. `BusError`, `StoreError` when log or store cannot be reached."""
        ends = await self._bus.ends()
        # The heads last: a command that is applied between the two readings is not behind.
        heads = {head.shard: head.next_offset for head in await self._store.shard_heads()}
        self._by_shard = {shard: max(0, end - heads.get(shard, 0)) for shard, end in ends.items()}
        _behind.set(sum(self._by_shard.values()))

    def start(self) -> None:
        """Begins to read in the background."""
        self._task = asyncio.create_task(self._run(), name="lag")

    async def stop(self) -> None:
        """Ends the reading."""
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self.read()
            except (BusError, StoreError, OSError) as error:
                self._log.warning("lag_unreadable", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(READ_EVERY_S)
