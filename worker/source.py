"""What a lane needs of a log: where commands come from, and where the sweeper's go. Kafka is one, devnet's another."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """One record of the log."""

    shard: int
    offset: int
    value: bytes


class LogBounds(Struct, frozen=True, kw_only=True):
    """What a shard's log retains: from `first` up to, not including, `end`; `committed` is what its lag tools see."""

    first: int
    end: int
    committed: int | None


class LogUnavailable(Exception):
    """The log cannot be reached for now."""


class OutOfRange(LogUnavailable):
    """The log does not have the offset that is to be read next: it was recreated or truncated."""

    def __init__(self, shards: Iterable[int]) -> None:
        self.shards = frozenset(shards)
        super().__init__(f"the log does not have the next offsets of shards {sorted(self.shards)}")


class CommandSource(Protocol):
    """One lane's view of the log."""

    async def assign(self, positions: Mapping[int, int]) -> None:
        """Reads these shards from these offsets on, and no others."""
        ...

    async def fetch(self, limit: int, timeout_s: float) -> list[Record]:
        """Up to `limit` records, each shard's in order; empty when nothing arrived in time.

        `OutOfRange` names shards whose next offset the log does not have.
        """
        ...

    async def bounds(self, shard: int) -> LogBounds:
        """What the log holds of a shard."""
        ...

    async def read_one(self, shard: int, offset: int) -> Record | None:
        """One record, if it is retained; the position of `fetch` does not move."""
        ...

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Writes into the log how far the shards are applied: for lag tools, and to recognise an older database.

        `LogUnavailable` when it may not have got there.
        """
        ...

    def progressed(self, positions: Mapping[int, int]) -> None:
        """Takes note of how far the shards are applied, to commit it soon and without being waited for."""
        ...

    async def close(self) -> None:
        """Frees connections."""
        ...


class CommandSink(Protocol):
    """How the worker itself asks for something: through the same log as everybody else."""

    async def send(self, shard: int, key: bytes, value: bytes) -> object:
        """Appends a record to the shard's log. `LogUnavailable` when it may not have got there."""
        ...
