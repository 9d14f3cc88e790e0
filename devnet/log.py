"""The command log in memory: what Kafka is in production. Records are bytes, kept in order by shard, never changed."""

import asyncio
from collections.abc import Mapping

from api.command_log.bus import Ack
from worker.source import LogBounds, Record


class MemoryLog:
    """Every shard's records, and who waits for more. It is a `CommandBus` for the API and a sink for the worker."""

    def __init__(self, shards: int) -> None:
        self.records: list[list[bytes]] = [[] for _ in range(shards)]
        self.committed: dict[int, int] = {}
        self._readers: list[MemorySource] = []

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """Appends a record; it is safe as soon as this returns."""
        del key
        self.records[shard].append(value)
        for reader in self._readers:
            reader.arrived(shard)
        return Ack(shard=shard, offset=len(self.records[shard]) - 1)

    async def ends(self) -> Mapping[int, int]:
        """See `api.command_log.bus.CommandBus`."""
        return {shard: len(records) for shard, records in enumerate(self.records)}

    def source(self) -> "MemorySource":
        """A view for one lane."""
        reader = MemorySource(self)
        self._readers.append(reader)
        return reader

    def forget(self, reader: "MemorySource") -> None:
        """Ends a lane's view."""
        self._readers = [each for each in self._readers if each is not reader]


class MemorySource:
    """See `worker.source.CommandSource`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[int, int] = {}
        self._arrived = asyncio.Event()
        self._ready: set[int] = set()

    def arrived(self, shard: int) -> None:
        """Says that a shard has a new record."""
        if shard in self._positions:
            self._ready.add(shard)
            self._arrived.set()

    async def assign(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`."""
        self._positions = dict(positions)
        self._ready = set(positions)
        self._arrived.set()

    async def fetch(self, limit: int, timeout_s: float) -> list[Record]:
        """See `worker.source.CommandSource`."""
        records = self._take(limit)
        if not records:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return []
            records = self._take(limit)
        return records

    def _take(self, limit: int) -> list[Record]:
        records: list[Record] = []
        self._arrived.clear()
        for shard in sorted(self._ready):
            start = self._positions[shard]
            values = self._log.records[shard][start : start + limit - len(records)]
            records += [Record(shard=shard, offset=start + index, value=value) for index, value in enumerate(values)]
            self._positions[shard] = start + len(values)
            if self._positions[shard] == len(self._log.records[shard]):
                self._ready.discard(shard)
            if len(records) >= limit:
                self._arrived.set()
                break
        return records

    async def bounds(self, shard: int) -> LogBounds:
        """See `worker.source.CommandSource`."""
        return LogBounds(first=0, end=len(self._log.records[shard]), committed=self._log.committed.get(shard))

    async def read_one(self, shard: int, offset: int) -> Record | None:
        """See `worker.source.CommandSource`."""
        records = self._log.records[shard]
        return Record(shard=shard, offset=offset, value=records[offset]) if 0 <= offset < len(records) else None

    async def commit(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`."""
        self._log.committed |= positions

    def progressed(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`. Here it costs nothing to commit at once."""
        self._log.committed |= positions

    async def close(self) -> None:
        """See `worker.source.CommandSource`."""
        self._log.forget(self)
