"""A lane: some of a worker's shards with their own transaction, so one lane decides while another commits."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from eventstore.errors import DataError, Fenced, StoreError, Unavailable, VersionConflict
from eventstore.records import Lease, ShardHead
from eventstore.store import Store
from worker import metrics
from worker.log_check import Mark, mismatch
from worker.round import Applied, Rounds
from worker.source import CommandSource, LogUnavailable, OutOfRange, Record

log = structlog.get_logger(__name__)

BATCH_MIN, BATCH_MAX = 1, 2_000
BATCH_FIRST = 16
COMMIT_S_MAX = 1.0
"""A batch that took longer is followed by one of half its size."""
IDLE_S = 0.25
RENEW_S = 1.0
PAUSE_S_MAX = 2.0
LOOK_AGAIN_S = 1.0
"""After this a shard whose log could not be looked at is looked at again; the others go on meanwhile."""
SHUNNED_S = 10.0
"""How long a shard that waits for a newer release is left to other workers."""
FAILURES_MAX, DECIDED_LAST = 50, 100
"""So many of the last commands have failed through bugs of ours: the deploy is bad, stop before more is set aside."""


class BadDeploy(Exception):
    """So many of the last commands have failed that going on would only fill the dead letters."""


class Lane:
    """Applies the records of its shards until it is stopped. All waiting is bounded.

    `monotonic` and `sleep` are how it tells time and waits: the simulation has its own. After `idle_s` without a record
    it looks up: whether it is to end, above all.
    """

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        source: CommandSource,
        rounds: Rounds,
        lease_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        idle_s: float = IDLE_S,
    ) -> None:
        self._worker = worker
        self._store = store
        self._source = source
        self._rounds = rounds
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._idle_s = idle_s
        self.leases: dict[int, Lease] = {}
        self.positions: dict[int, int] = {}
        self.stopped: dict[int, str] = {}
        """Shards that are ours but must not be applied, with the reason."""
        self.marks: dict[int, Mark] = {}
        """Earlier records that shards are compared with; the rechecker sets them."""
        self._arriving: list[ShardHead] = []
        self._doubted: dict[int, float] = {}
        """Shards to be looked at before they are applied, new ones too, and when."""
        self._shunned: dict[int, float] = {}
        """Shards given back to a newer release, and until when they are not for us."""
        self._leaving = 0
        self._newer_release: dict[int, str] = {}
        """Shards that met a command of a newer release in the batch just applied."""
        self._astray = False
        """The log's reader may not stand where the store does: it is put there before the next fetch."""
        self._batch_size = BATCH_FIRST
        self._pause_s = 0.0
        self._renewed = 0.0
        self._verdicts: deque[bool] = deque(maxlen=DECIDED_LAST)
        """Which of the last commands have failed."""
        self.beat = monotonic()
        """When the lane last came round; the watchdog looks at it."""
        self.applied = 0
        self.closing = False

    @property
    def shards(self) -> int:
        """How many shards the lane has, those on their way included."""
        return len(self.leases) + len(self._arriving) - self._leaving

    def adopt(self, head: ShardHead) -> None:
        """Hands a claimed shard to the lane; it starts with its next turn."""
        self._arriving.append(head)

    def surrender(self, count: int) -> None:
        """Asks for shards back; they are freed between two batches."""
        self._leaving += min(count, len(self.leases))

    def doubt(self, shard: int) -> None:
        """Asks for another look at whether the shard's log and the store belong together, with the next turn."""
        self._doubted.setdefault(shard, 0.0)

    def shunned(self) -> list[int]:
        """Shards that are not to be claimed now: only a newer release can apply what comes next in them."""
        now = self._monotonic()
        self._shunned = {shard: until for shard, until in self._shunned.items() if until > now}
        return list(self._shunned)

    async def run(self) -> None:
        """Comes round until `closing` is set; raises only `BadDeploy` and bugs."""
        while not self.closing:
            self.beat = self._monotonic()
            try:
                await self._turn()
                self._pause_s = 0.0
            except Fenced as fenced:
                metrics.rounds_rolled_back.labels("fenced").inc()
                log.warning("shards_lost", shards=sorted(fenced.shards))
                self._forget(fenced.shards)
            except VersionConflict as conflict:
                metrics.rounds_rolled_back.labels("conflict").inc()
                log.warning("batch_conflicted", reason=str(conflict))
                self._rounds.drop_shards(frozenset(self.leases))
                self._astray = True
                await self._pause()
            except OutOfRange as error:
                log.warning("log_out_of_range", reason=str(error))
                for shard in error.shards:
                    self.doubt(shard)
                self._astray = True
                await self._pause()
            except (Unavailable, LogUnavailable, OSError) as error:
                metrics.rounds_rolled_back.labels("unavailable").inc()
                log.warning("lane_paused", reason=str(error) or type(error).__name__)
                self._batch_size = max(BATCH_MIN, self._batch_size // 2)
                self._astray = True
                await self._pause()

    async def _turn(self) -> None:
        self._welcome()
        await self._keep()
        await self._let_go()
        await self._look_again()
        if self._astray:
            await self._source.assign(self.positions)
            self._astray = False
        if not self.positions:
            await self._sleep(self._idle_s / 5)
        else:
            records = await self._source.fetch(self._batch_size, self._idle_s)
            if records:
                await self._apply(records)

    async def _apply(self, records: Sequence[Record]) -> None:
        started = self._monotonic()
        await self._apply_or_bisect(records)
        took = self._monotonic() - started
        metrics.round_seconds.observe(took)
        if took > COMMIT_S_MAX:
            self._batch_size = max(BATCH_MIN, self._batch_size // 2)
        elif len(records) >= self._batch_size and took < COMMIT_S_MAX / 3:
            self._batch_size = min(BATCH_MAX, self._batch_size * 2)
        if any(self.positions.get(record.shard, record.offset) <= record.offset for record in records):
            self._astray = True  # the round has left records for the next one
        if self._newer_release:
            await self._give_up()

    async def _apply_or_bisect(self, records: Sequence[Record]) -> None:
        """Where the database refuses a row, finds the one command it belongs to and lets the others pass."""
        try:
            self._done(await self._rounds.apply(self.leases, records))
        except DataError as error:
            if len(records) > 1:
                half = len(records) // 2
                await self._apply_or_bisect(records[:half])
                await self._apply_or_bisect(records[half:])
                return
            log.warning("command_poisoned", shard=records[0].shard, offset=records[0].offset, reason=str(error))
            poisoned = frozenset({(records[0].shard, records[0].offset)})
            try:
                self._done(await self._rounds.apply(self.leases, records, poisoned))
            except DataError:  # not even its outcome can be written: nothing of it is read
                self._done(await self._rounds.apply(self.leases, records, poisoned, unreadable=True))

    def _done(self, applied: Applied) -> None:
        self.positions |= {shard: at for shard, at in applied.positions.items() if shard in self.positions}
        self.applied += applied.commands
        self._verdicts.extend(applied.failed)
        if (failures := sum(self._verdicts)) >= FAILURES_MAX:
            raise BadDeploy(f"{failures} of the last {len(self._verdicts)} commands have failed")
        self._newer_release |= applied.newer_release

    async def _give_up(self) -> None:
        """Gives shards back whose next command only a newer release knows, and says so to every process."""
        newer, self._newer_release = self._newer_release, {}
        leases = [self.leases[shard] for shard in newer if shard in self.leases]
        self._forget(frozenset(newer))
        self._shunned |= dict.fromkeys(newer, self._monotonic() + SHUNNED_S)
        for lease in leases:
            log.error("shard_given_back", shard=lease.shard, reason=newer[lease.shard])
            await self._store.stop_shard(self._worker, lease, newer[lease.shard])
        await self._store.give_back(self._worker, leases)

    def _welcome(self) -> None:
        """Takes over what was handed to the lane: kept from now on, and applied once it was looked at."""
        arriving, self._arriving = self._arriving, []
        if not arriving:
            return
        self._forget(frozenset(head.shard for head in arriving))  # others may have written them since they were ours
        for head in arriving:
            self.leases[head.shard] = Lease(shard=head.shard, epoch=head.epoch)
            self._doubted[head.shard] = 0.0

    async def _look_again(self) -> None:
        """Checks new and doubted shards, which stops them or, if all is well, lets them go on.

        One whose log is away is not applied for a while and holds up no other; what takes long goes on next turn.
        """
        self._doubted = {shard: at for shard, at in self._doubted.items() if shard in self.leases}
        started = self._monotonic()
        waiting = sorted((at, shard) for shard, at in self._doubted.items() if at <= started)
        heads = {head.shard: head for head in await self._store.shard_heads()} if waiting else {}
        for _, shard in waiting:
            if (heads[shard].owner, heads[shard].epoch) != (self._worker, self.leases[shard].epoch):
                raise Fenced([shard])
            try:
                await self._check(heads[shard])
            except LogUnavailable as error:
                log.warning("shard_waits", shard=shard, reason=str(error) or type(error).__name__)
                self._doubted[shard] = self._monotonic() + LOOK_AGAIN_S
                self._astray |= self.positions.pop(shard, None) is not None
                return
            del self._doubted[shard]
            if self._monotonic() - started >= RENEW_S:
                return

    async def _check(self, head: ShardHead) -> None:
        lease = Lease(shard=head.shard, epoch=head.epoch)
        reason = await mismatch(self._source, head, self.marks.get(head.shard))
        if reason != head.stopped:
            await self._store.stop_shard(self._worker, lease, reason)
        self._forget(frozenset({head.shard}))
        self.leases[head.shard] = lease
        if reason is None:
            self.positions[head.shard] = head.next_offset
        else:
            log.error("shard_stopped", shard=head.shard, reason=reason)
            self.stopped[head.shard] = reason

    async def _let_go(self) -> None:
        if self._leaving <= 0:
            return
        leaving = sorted(self.leases, key=lambda shard: (shard not in self.stopped, shard))[: self._leaving]
        self._leaving = 0
        await self._store.give_back(self._worker, [self.leases[shard] for shard in leaving])
        self._forget(frozenset(leaving))

    def _forget(self, shards: frozenset[int]) -> None:
        for shard in shards:
            self.leases.pop(shard, None)
            self.positions.pop(shard, None)
            self.stopped.pop(shard, None)
        self._rounds.drop_shards(shards)
        self._leaving = min(self._leaving, len(self.leases))
        self._astray = True

    async def _keep(self) -> None:
        """Renews leases that no commit has renewed, and tells the log where we are.

        First in each turn, whatever becomes of the rest of it.
        """
        now = self._monotonic()
        if self.leases and now - self._renewed >= RENEW_S:
            await self._store.renew(self._worker, list(self.leases.values()), self._lease_s)
            self._renewed = now
        if self.positions:
            self._source.progressed(self.positions)

    async def _commit(self) -> None:
        """Commits the last positions. That it fails is only said: no decision of a lane depends on it."""
        try:
            await self._source.commit(self.positions)
        except (LogUnavailable, OSError) as error:
            log.info("positions_not_committed", reason=str(error) or type(error).__name__)

    async def _pause(self) -> None:
        self._pause_s = min(max(self._pause_s * 2, 0.05), PAUSE_S_MAX)
        await self._sleep(self._pause_s)

    async def close(self) -> None:
        """Gives back every shard, so that others need not wait for the leases to end."""
        try:
            await self._store.give_back(self._worker, list(self.leases.values()))
        except (StoreError, OSError) as error:
            log.warning("shards_not_given_back", reason=str(error))
        await self._commit()
        await self._source.close()
