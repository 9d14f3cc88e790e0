"""Turns the log into deliveries: each event once, whoever reads it, since the position moves with what was made of it.

Nothing here costs a round of commands anything. While a target takes nothing, reading stops after some deliveries: the
log is where the rest waits.
"""

from collections.abc import Callable, Sequence

import structlog

from domain.instant import SECOND, Instant
from eventstore import codec
from eventstore.errors import StoreError, UnknownType
from eventstore.outbox import OutboxStore, Unread
from worker import metrics
from worker.outgoing.target import Target

log = structlog.get_logger(__name__)

EVENTS_MAX = 2_000
"""Events that are passed at once: to read them all takes the lanes' loop some milliseconds."""
WAITING_MAX = 1_000
"""Deliveries of one shard that wait for the target, until which more are made."""
POSITION_KEPT: Instant = 30 * SECOND
"""How long a position that only passed what is not told may stay unwritten: reading it again makes nothing."""


class LogReader:
    """Reads for one target. `step` is called for the shards that the worker has now."""

    def __init__(self, store: OutboxStore, target: Target, clock: Callable[[], Instant]) -> None:
        self._store = store
        self._target = target
        self._clock = clock
        self._passed: dict[int, tuple[int, int]] = {}
        """By shard: the stored position that we saw, and how far behind it there is nothing to tell."""
        self._written_at = 0

    async def step(self, shards: Sequence[int]) -> bool:
        """Reads once on each shard; answers whether there is more to be read at once."""
        at = self._clock()
        write = at - self._written_at >= POSITION_KEPT
        if write:
            self._written_at = at
        behind, more = 0, False
        for unread in await self._store.unread(self._target.name, shards):
            behind += unread.end - unread.position
            if unread.waiting < WAITING_MAX:
                more |= await self._try(unread, at, write=write)
        metrics.outbox_unread.labels(self._target.name).set(behind)
        return more

    async def _try(self, unread: Unread, at: Instant, *, write: bool) -> bool:
        """Reads a shard. What cannot be told stops its own shard alone, and is said until somebody mends it."""
        try:
            return await self._read(unread, at, write=write)
        except UnknownType as error:
            log.warning("outbox_waits", target=self._target.name, shard=unread.shard, reason=f"{error}: upgrade it")
        except StoreError:
            raise
        except Exception:
            log.exception("outbox_failed", target=self._target.name, shard=unread.shard)
        return False

    async def _read(self, unread: Unread, at: Instant, *, write: bool) -> bool:
        shard, name = unread.shard, self._target.name
        seen, passed = self._passed.get(shard, (0, 0))
        after = passed if seen == unread.position and passed > seen else unread.position
        until = min(unread.end, after + EVENTS_MAX)
        stored = await self._store.events_of(shard, after, until, self._target.event_tags)
        made = self._target.deliveries(shard, [codec.recorded(each) for each in stored], at)
        self._passed[shard] = unread.position, until
        if made or write or until - unread.position >= EVENTS_MAX:
            await self._store.enqueue(name, shard, unread.position, until, made)
        return until < unread.end
