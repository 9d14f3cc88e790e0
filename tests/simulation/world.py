"""The simulated world: one log, one store, several worker processes, and what goes wrong between any two steps."""

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from msgspec import Struct

from domain.instant import SECOND, Instant
from eventstore.codec import MacChain
from eventstore.errors import StoreError, Unavailable
from projections.memory import MemoryDocuments
from tests.simulation.log import SimulatedLog, SimulatedSource
from tests.simulation.schedule import Scheduler, Suspend
from tests.simulation.watch import WatchedStore
from worker.lane import Lane
from worker.projecting import DocumentCache
from worker.round import Rounds
from worker.source import LogUnavailable
from worker.streams import StreamCache
from worker.worker import LEASE_S, TICK_S, Worker

T = TypeVar("T")

SHARDS = 4
MACS = MacChain({"k1": bytes(32)})
FROZEN_S_MAX = 8.0
"""A frozen process sleeps well past its lease of 3 s."""


class Faults(Struct, kw_only=True):
    """How likely each fault is, at each step or exchange; drawn once a seed, so that seeds differ in character."""

    crash: float = 0.0
    freeze: float = 0.0
    leave: float = 0.0
    join: float = 0.0
    store_away: float = 0.0
    log_away: float = 0.0

    @classmethod
    def drawn(cls, random: Random) -> "Faults":
        """Some of them, each at a rate of its own."""
        return cls(
            crash=random.choice((0.0, 0.004, 0.012)),
            freeze=random.choice((0.0, 0.004, 0.012)),
            leave=random.choice((0.0, 0.004)),
            join=random.choice((0.0, 0.01)),
            store_away=random.choice((0.0, 0.01, 0.05)),
            log_away=random.choice((0.0, 0.01, 0.05)),
        )


class World:
    """Everything there is; `random` decides all of it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.scheduler = Scheduler(self.random)
        self.faults = faults = Faults.drawn(self.random)
        self._trouble = faults.crash + faults.freeze + faults.leave + max(faults.join, 0.02)
        self.documents = MemoryDocuments()
        self.store = WatchedStore(SHARDS, lambda: self.scheduler.now, self.store_pause, self.running, self.documents)
        self.log = SimulatedLog(self, SHARDS)
        self.workers: dict[str, Worker] = {}
        self.leaving: set[str] = set()
        self.started = 0
        self.clients = 0
        """Clients that are still asking."""
        self.holds: list[tuple[str, str]] = []
        """Account and id of every hold that clients have asked for."""
        self.happened: dict[str, int] = {}
        """Faults by kind, for the report."""

    @property
    def now(self) -> Instant:
        """Virtual time."""
        return self.scheduler.now

    def running(self) -> str:
        """The process whose step it is."""
        return self.scheduler.current.process if self.scheduler.current else "nobody"

    async def sleep(self, seconds: float) -> None:
        """Waits in virtual time."""
        await Suspend(self.scheduler.now + int(seconds * SECOND))

    async def _idle(self, seconds: float) -> None:
        await self.sleep(max(seconds, 0.3))

    async def store_pause(self) -> None:
        """One exchange with the store: others run meanwhile, and it may fail before or after it was done."""
        self.store.look()
        await Suspend()
        if self.random.random() < self.faults.store_away:
            self._note("store_away")
            raise Unavailable("simulated")

    async def log_pause(self) -> None:
        """One exchange with the log."""
        await Suspend()
        if self.random.random() < self.faults.log_away:
            self._note("log_away")
            raise LogUnavailable("simulated")

    def _note(self, kind: str) -> None:
        self.happened[kind] = self.happened.get(kind, 0) + 1

    # Worker processes

    def start_worker(self) -> None:
        """A new process, with two lanes, a clock that is a little off, and perhaps very small caches."""
        self.started += 1
        name = f"worker-{self.started}"
        skew = int((self.random.random() - 0.5) * 0.4 * SECOND)
        small = self.random.random() < 0.5
        lanes = [self._lane(name, skew, small=small) for _ in range(2)]
        worker = Worker(
            name=name,
            store=self.store,
            sink=self.log,
            lanes=lanes,
            clock=lambda: self.scheduler.now + skew,
            shards=SHARDS,
        )
        self.workers[name] = worker
        for number, lane in enumerate(lanes):
            self.scheduler.spawn(name, f"lane-{number}", lane.run())
        self.scheduler.spawn(name, "sweeper", self._sweep(worker))
        self.scheduler.spawn(name, "ticker", self._tick(worker))

    def _lane(self, name: str, skew: int, *, small: bool) -> Lane:
        rounds = Rounds(
            worker=name,
            store=self.store,
            documents=self.documents,
            macs=MACS,
            clock=lambda: self.scheduler.now + skew,
            shards=SHARDS,
        )
        if small:
            rounds._streams, rounds._cache = StreamCache(1), DocumentCache(5)
        return Lane(
            worker=name,
            store=self.store,
            source=SimulatedSource(self),
            rounds=rounds,
            lease_s=LEASE_S,
            monotonic=lambda: self.scheduler.now / SECOND,
            sleep=self._idle,
        )

    async def _sweep(self, worker: Worker) -> None:
        while worker.name not in self.leaving:
            await worker._tidy()
            await self.sleep(TICK_S)

    async def _tick(self, worker: Worker) -> None:
        while worker.name not in self.leaving:
            await worker._tick()
            await self.sleep(TICK_S)
        for lane in worker.lanes:
            lane.closing = True
        while any(task.process == worker.name and task.name != "ticker" for task in self.scheduler.tasks):
            await self.sleep(0.01)
        for lane in worker.lanes:
            await lane.close()
        try:
            await self.store.retire(worker.name)
        except StoreError:
            self._note("not_retired")
        del self.workers[worker.name]

    def misfortune(self) -> None:
        """Between two steps: perhaps a process dies, freezes, leaves or joins."""
        chance = self.random.random()
        if chance >= self._trouble:
            return
        if not self.workers:
            self.start_worker()
            return
        faults = self.faults
        for kind, likely in (("crash", faults.crash), ("freeze", faults.freeze), ("leave", faults.leave)):
            if chance < likely:
                self._befall(kind, self.random.choice(sorted(self.workers)))
                return
            chance -= likely
        if chance < faults.join and len(self.workers) < 3:
            self._befall("join", "")

    def _befall(self, kind: str, name: str) -> None:
        self._note(kind)
        if kind == "crash":
            self.kill(name)
        elif kind == "freeze":
            self.scheduler.frozen[name] = self.now + int(self.random.random() * FROZEN_S_MAX * SECOND)
        elif kind == "leave":
            self.leaving.add(name)
        else:
            self.start_worker()

    def kill(self, name: str) -> None:
        """Ends a process without a word."""
        self.scheduler.kill(name)
        for lane in self.workers.pop(name).lanes:
            source: Any = lane._source
            self.log.forget(source)

    def calm(self) -> None:
        """From now on nothing goes wrong any more, and somebody works."""
        self.faults = Faults()
        self.scheduler.frozen.clear()
        if not self.workers or self.workers.keys() <= self.leaving:
            self.start_worker()

    def settled(self) -> bool:
        """Tells whether every record has been applied, and every shard's lane knows and waits for more."""
        heads = at_once(self.store.shard_heads())
        if any(head.next_offset != len(self.log.records[head.shard]) for head in heads):
            return False
        lanes = [lane for name, worker in self.workers.items() if name not in self.leaving for lane in worker.lanes]
        places = {shard: place for lane in lanes for shard, place in lane.positions.items()}
        return all(places.get(head.shard) == head.next_offset for head in heads)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("it waits")
