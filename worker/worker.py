"""One worker: lanes, the leases they share, the sweeper, and the watchdog that ends a process which is stuck."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from domain.instant import Instant
from eventstore.errors import StoreError
from eventstore.records import Lease
from eventstore.store import Store
from worker import metrics
from worker.lane import Lane
from worker.outgoing.outgoing import Outgoing
from worker.rechecking import Rechecker
from worker.source import CommandSink, LogUnavailable
from worker.sweeper import Sweeper

log = structlog.get_logger(__name__)

LEASE_S = 3.0
TICK_S = 0.5
PURGE_S = 60.0
STUCK_S = 30.0
CLOSE_S = 20.0
"""How long winding up waits for each of its parts; a process that is stuck has to end."""


class Stuck(Exception):
    """A lane has not come round for so long that only a new process can help."""


class Worker:
    """Claims an even share of the shards, spreads them over its lanes, and keeps them while it lives."""

    def __init__(
        self,
        *,
        name: str,
        store: Store,
        sink: CommandSink,
        lanes: Sequence[Lane],
        clock: Callable[[], Instant],
        shards: int,
        lease_s: float = LEASE_S,
        unfit: Callable[[], Awaitable[str | None]] | None = None,
        rechecker: Rechecker | None = None,
        outgoing: Outgoing | None = None,
    ) -> None:
        self.name = name
        self.lanes = tuple(lanes)
        self._store = store
        self._sweeper = Sweeper(store, sink, shards)
        self._rechecker = rechecker
        self._outgoing = outgoing
        self._clock = clock
        self._total = shards
        self._lease_s = lease_s
        self._unfit = unfit
        """Asks why this release may not write the read models, if it may not."""
        self._told_unfit = ""
        self._purged = time.monotonic()
        self._closing = asyncio.Event()

    @property
    def shards(self) -> int:
        """How many shards the worker has."""
        return sum(lane.shards for lane in self.lanes)

    async def run(self) -> None:
        """Works until `close` is called. Raises what ended a lane: `BadDeploy`, `Stuck`, or a bug."""
        await self._mark_log_ends()
        lanes = [asyncio.create_task(lane.run(), name=f"lane-{number}") for number, lane in enumerate(self.lanes)]
        beside = [asyncio.create_task(self._keep_house(), name="sweeper")]
        if self._rechecker is not None:
            beside.append(asyncio.create_task(self._rechecker.run(), name="rechecker"))
        if self._outgoing is not None:
            beside.append(asyncio.create_task(self._outgoing.run(self._mine), name="outgoing"))
        try:
            while not self._closing.is_set():
                await self._tick()
                await self._until_next_tick(lanes)
        finally:
            for task in beside:
                task.cancel()
            await self._wind_up(lanes)
            await asyncio.wait(beside, timeout=CLOSE_S)

    def close(self) -> None:
        """Asks the worker to finish its batches, give its shards back and return from `run`."""
        self._closing.set()

    async def _mark_log_ends(self) -> None:
        """Before anything is applied: what comes from now on is told to the outside."""
        while self._outgoing is not None and not self._closing.is_set():
            try:
                await self._outgoing.begin()
            except (StoreError, OSError) as error:
                log.warning("worker_waits", reason=str(error) or type(error).__name__)
                await asyncio.sleep(TICK_S)
            else:
                return

    def _mine(self) -> list[int]:
        return [shard for lane in self.lanes for shard in lane.positions]

    async def _until_next_tick(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        closing = asyncio.create_task(self._closing.wait())
        try:
            done, _ = await asyncio.wait([closing, *lanes], timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        for task in done:
            if task is not closing:
                task.result()
        stuck = [lane for lane in self.lanes if time.monotonic() - lane.beat > STUCK_S]
        if stuck:
            raise Stuck(f"{len(stuck)} of {len(self.lanes)} lanes have not come round for {STUCK_S:.0f} s")

    async def _tick(self) -> None:
        """Says that we live, and takes or gives back shards. Nothing else: who is late here is taken for dead."""
        try:
            await self._share()
        except (StoreError, OSError) as error:
            log.warning("worker_waits", reason=str(error) or type(error).__name__)
        metrics.shards_owned.set(self.shards)
        metrics.shards_stopped.set(sum(len(lane.stopped) for lane in self.lanes))

    async def _keep_house(self) -> None:
        """Sweeps and purges, however long it takes, until it is cancelled."""
        while True:
            await self._tidy()
            await asyncio.sleep(TICK_S)

    async def _tidy(self) -> None:
        try:
            await self._sweep()
            await self._purge()
        except (StoreError, LogUnavailable, OSError) as error:
            log.warning("sweeper_waits", reason=str(error) or type(error).__name__)
        except Exception:
            log.exception("sweeper_failed")  # a bug of ours; commands do not depend on it, since each does what is due

    async def _share(self) -> None:
        if self.shards == 0 and not await self._fits():
            return
        alive = await self._store.announce(self.name, self._lease_s)
        share = -(-self._total // max(alive, 1))
        if self.shards > share:
            self._give_up(self.shards - share)
        elif self.shards < share:
            await self._claim(share - self.shards, alive)

    async def _claim(self, count: int, alive: int) -> None:
        shunned = [shard for lane in self.lanes for shard in lane.shunned()]
        heads = await self._store.claim(self.name, count, self._lease_s, shunned)
        # Who exchanges read models fences everybody: it came before this claim, and shows now, or ends this claim.
        if heads and not await self._fits():
            await self._store.give_back(self.name, [Lease(shard=head.shard, epoch=head.epoch) for head in heads])
            return
        for head in heads:
            min(self.lanes, key=lambda lane: lane.shards).adopt(head)
        if heads:
            log.info("shards_claimed", shards=[head.shard for head in heads], alive=alive)

    async def _fits(self) -> bool:
        """Whether this release may write the read models. Who may not is counted no longer: others take its share."""
        reason = await self._unfit() if self._unfit is not None else None
        if reason is None:
            self._told_unfit = ""
            return True
        if reason != self._told_unfit:
            self._told_unfit = reason
            log.error("worker_unfit", reason=reason)
            if self.shards == 0:
                await self._store.retire(self.name)
        return False

    def _give_up(self, surplus: int) -> None:
        for _ in range(surplus):
            max(self.lanes, key=lambda lane: lane.shards).surrender(1)

    async def _sweep(self) -> None:
        if mine := self._mine():
            await self._sweeper.sweep(mine, self._clock())

    async def _purge(self) -> None:
        if time.monotonic() - self._purged >= PURGE_S:
            self._purged = time.monotonic()
            await self._store.purge(self._clock())

    async def _wind_up(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        for lane in self.lanes:
            lane.closing = True
        _, late = await asyncio.wait(lanes, timeout=self._lease_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CLOSE_S)
        closing = [asyncio.create_task(lane.close()) for lane in self.lanes]
        _, late = await asyncio.wait(closing, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        with suppress(StoreError, OSError):
            await self._store.retire(self.name)
        for task in (*lanes, *closing):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.error("lane_ended", reason=str(error) or type(error).__name__)
