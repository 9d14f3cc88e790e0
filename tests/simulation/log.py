"""The log in the simulation: others run between any two exchanges with it, and its acknowledgements can be lost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from api.command_log.bus import Ack
from devnet.log import MemoryLog, MemorySource
from tests.simulation.schedule import Task
from worker.source import LogBounds, Record

if TYPE_CHECKING:
    from tests.simulation.world import World


class SimulatedLog(MemoryLog):
    """A log whose acknowledgements can be lost: the record is there, and its sender does not know."""

    def __init__(self, world: "World", shards: int) -> None:
        super().__init__(shards)
        self._world = world

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `MemoryLog`."""
        await self._world.log_pause()
        ack = await super().send(shard, key, value)
        await self._world.log_pause()
        return ack


class SimulatedSource(MemorySource):
    """One lane's view of the log, in virtual time."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.log)
        self._world = world
        self._waiting: Task | None = None
        world.log._readers.append(self)

    async def fetch(self, limit: int, timeout_s: float) -> list[Record]:
        """See `MemorySource`."""
        await self._world.log_pause()
        records = self._take(limit)
        if not records:
            self._waiting = self._world.scheduler.current
            await self._world.sleep(timeout_s * 2)  # idle waits are longer here, to simulate less of nothing
            self._waiting = None
            records = self._take(limit)
        return records

    def arrived(self, shard: int) -> None:
        """See `MemorySource`."""
        super().arrived(shard)
        if self._waiting is not None and shard in self._positions:
            self._world.scheduler.wake(self._waiting)

    async def assign(self, positions: Mapping[int, int]) -> None:
        """See `MemorySource`."""
        await self._world.log_pause()
        await super().assign(positions)

    async def bounds(self, shard: int) -> LogBounds:
        """See `MemorySource`."""
        await self._world.log_pause()
        return await super().bounds(shard)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """See `MemorySource`."""
        await self._world.log_pause()
        await super().commit(positions)
