"""Whether logs and store still belong together while a worker runs: one shard after the other, all the time.

A topic can be recreated, or an older database restored, under a running worker; a claim alone would not notice.
"""

import asyncio
from collections.abc import Sequence

import structlog

from eventstore.errors import StoreError
from eventstore.records import ShardHead
from eventstore.store import ShardStore
from worker.lane import Lane
from worker.log_check import mark_of, mismatch
from worker.source import CommandSource, LogUnavailable

log = structlog.get_logger(__name__)

STEP_S = 0.5


class Rechecker:
    """Looks at one shard at a time, beside the lanes; what it suspects the shard's lane looks at for itself.

    The lane's own look is exact, since it applies and commits nothing meanwhile. This one costs the lanes nothing, and
    may be wrong for a moment: offsets are committed between its questions. Where all is well it marks the last record
    that was applied, to be compared with at the next look.
    """

    def __init__(self, store: ShardStore, source: CommandSource, lanes: Sequence[Lane]) -> None:
        self._store = store
        self._source = source
        self._lanes = lanes
        self._last = -1

    async def run(self) -> None:
        """Looks at a shard every half a second until it is cancelled; beside the worker's tick, which may not wait."""
        try:
            while True:
                await asyncio.sleep(STEP_S)
                try:
                    await self.step()
                except (StoreError, LogUnavailable, OSError) as error:
                    log.info("recheck_waits", reason=str(error) or type(error).__name__)
        finally:
            await self._source.close()

    async def step(self) -> None:
        """Looks at the next shard. `LogUnavailable` and `StoreError` as they come."""
        owners = {shard: lane for lane in self._lanes for shard in (*lane.positions, *lane.stopped)}
        if not owners:
            return
        shard = min((each for each in owners if each > self._last), default=min(owners))
        self._last = shard
        if await self._suspicious(owners[shard], shard) and await self._suspicious(owners[shard], shard):
            owners[shard].doubt(shard)

    async def _suspicious(self, lane: Lane, shard: int) -> bool:
        # The position first: the store can only be further by the time it is asked.
        position = lane.positions.get(shard, 0)
        head = await self._head(shard)
        reason = await mismatch(self._source, head, lane.marks.get(shard))
        mark = mark_of(head)
        if reason is None and mark is not None and position <= head.next_offset:
            lane.marks[shard] = mark
        return position > head.next_offset or (reason is not None) != (shard in lane.stopped)

    async def _head(self, shard: int) -> ShardHead:
        return next(head for head in await self._store.shard_heads() if head.shard == shard)
