"""What the store holds: dictionaries that stand for the tables of `eventstore/postgres/schema`."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.instant import Instant
from eventstore.outbox import Delivery
from eventstore.records import (
    ClaimRow,
    DataKey,
    DeadLetter,
    KeptAnswer,
    Outcome,
    Refusal,
    ShardHead,
    StoredEvent,
    StreamHead,
)

if TYPE_CHECKING:
    from eventstore.memory.rounds import MemoryRound


async def _no_pause() -> None:
    """Between any two steps of a round; the simulation stops, crashes or switches workers here."""


class RateCell(Struct):
    """What was counted of a subject in one cell of a window."""

    admitted: int = 0
    offsets_ms: int = 0
    refused: int = 0
    last_at: Instant = 0
    unreported: bool = False


class Tables:
    """Each part of the store reads and writes some of them. `pause` comes between any two steps of a round."""

    def __init__(
        self, shards: int, clock: Callable[[], Instant], pause: Callable[[], Awaitable[None]] = _no_pause
    ) -> None:
        self._clock = clock
        self.pause = pause
        self._shard_heads = {
            shard: ShardHead(shard=shard, owner=None, epoch=0, next_offset=0, seq=0, last_digest=b"")
            for shard in range(shards)
        }
        self._lease_until = dict.fromkeys(range(shards), 0)
        self._lease_s = dict.fromkeys(range(shards), 0.0)
        self._workers: dict[str, Instant] = {}
        self._locks: dict[int, MemoryRound] = {}
        self._dead_letters: dict[tuple[int, int, int], DeadLetter] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._refusals: dict[tuple[str, str], Refusal] = {}
        self._streams: dict[str, list[StoredEvent]] = {}
        self._log: dict[int, list[StoredEvent]] = {shard: [] for shard in range(shards)}
        self.heads: dict[str, StreamHead] = {}
        self.claims: dict[tuple[str, str], ClaimRow] = {}
        self._lookup_key: DataKey | None = None
        self._data_keys: dict[str, DataKey] = {}
        self._erased: set[str] = set()
        self._answers: dict[str, KeptAnswer] = {}
        self._attempts: dict[str, tuple[int, Instant]] = {}
        self._rate_cells: dict[tuple[str, int, int], RateCell] = {}
        self._api_processes: dict[str, Instant] = {}
        self._outbox_positions: dict[tuple[str, int], int] = {}
        self._deliveries: dict[tuple[str, int, str, int, int], Delivery] = {}
