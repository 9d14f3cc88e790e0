"""What a worker does beside its lanes never keeps it from saying that it lives."""

import asyncio

import pytest

from domain.instant import SECOND
from tests.domain.account.asking import add
from tests.worker.bench import IDLE_S, MACS, Bench
from worker import worker as worker_module
from worker.assembly import build_worker

pytestmark = pytest.mark.usefixtures("logged")


class Hanging:
    """A log that takes sweeps and never says that it has them."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def send(self, shard: int, key: bytes, value: bytes) -> None:
        """See `worker.source.CommandSink`."""
        del shard, key, value
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_sweep_that_hangs_does_not_silence_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is announced as before, so that its shards stay its own; and it ends when it is told to."""
    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    bench = Bench()
    await bench.send("account:a", add("g", 5, expires_at=bench.at + SECOND))
    await bench.run()
    await bench.lane.close()
    bench.at += 2 * SECOND
    sink, announce = Hanging(), bench.store.announce
    alive: asyncio.Queue[str] = asyncio.Queue()

    async def announced(worker: str, lease_s: float) -> int:
        if sink.asked.is_set():
            alive.put_nowait(worker)
        return await announce(worker, lease_s)

    monkeypatch.setattr(bench.store, "announce", announced)
    worker = await build_worker(
        store=bench.store,
        documents=bench.documents,
        source=bench.log.source,
        sink=sink,
        macs=MACS,
        lanes=1,
        idle_s=IDLE_S,
        clock=lambda: bench.at,
    )
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        for _ in range(3):
            await alive.get()
        worker.close()
        await running
    assert [head.owner for head in await bench.store.shard_heads()] == [None]
