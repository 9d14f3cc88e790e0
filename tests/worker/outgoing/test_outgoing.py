"""What leaves begins where a worker begins, and goes on whatever the store does meanwhile."""

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from domain.account.subscription import ConfirmSubscription
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.errors import Unavailable
from eventstore.outbox import Delivery
from tests.crash.waiting import until_true
from tests.worker.bench import IDLE_S, MACS, Bench
from tests.worker.outgoing.logs import TERMS
from worker import worker as worker_module
from worker.assembly import build_worker
from worker.outgoing import outgoing as outgoing_module
from worker.outgoing.target import Attempt
from worker.outgoing.webhooks import notice
from worker.worker import Worker

pytestmark = pytest.mark.usefixtures("logged")


class Told:
    """A target that takes everything at once."""

    name = "told"
    event_tags = ("subscription.confirmed",)
    read_every_s = 0.01

    def __init__(self) -> None:
        self.ids: list[str] = []

    def deliveries(self, shard: int, events: Sequence[Recorded], at: Instant) -> list[Delivery]:
        """See `Target`."""
        found = [notice(shard, each, at) for each in events]
        return [replace(each, target=self.name) for each in found if each is not None]

    def deadline(self, _delivery: Delivery) -> Instant | None:
        """See `Target`."""
        return None

    async def send(self, delivery: Delivery) -> Attempt:
        """See `Target`."""
        self.ids.append(delivery.id)
        return Attempt(taken=True)


async def _worker(bench: Bench, target: Told) -> Worker:
    return await build_worker(
        store=bench.store,
        documents=bench.documents,
        source=bench.log.source,
        sink=bench.log,
        macs=MACS,
        lanes=1,
        idle_s=IDLE_S,
        clock=lambda: bench.at,
        targets=[target],
    )


async def _confirm(bench: Bench, reference: str) -> None:
    news = ConfirmSubscription(
        plan=f"plan {reference}", status="active", terms=TERMS, occurred_at=bench.at, reference=reference
    )
    await bench.send("account:user_1", news)


async def test_nothing_is_applied_before_the_log_s_end_is_marked(
    monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    """While the store is away the worker waits; then the first event is told, and what fails later is tried again."""
    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    monkeypatch.setattr(outgoing_module, "RETRY_S", 0.01)
    bench, target = Bench(), Told()
    await _confirm(bench, "1")
    begin, unread, failures = bench.store.begin_reading, bench.store.unread, [5, 3, 2]

    async def begin_reading(reader: str) -> None:
        failures[0] -= 1
        if failures[0] > 0:
            assert (await bench.store.shard_heads())[0].seq == 0
            raise Unavailable("away")
        await begin(reader)

    async def failing(reader: str, shards: Sequence[int]) -> Any:
        failures[1] -= 1
        if failures[1] > 0:
            raise Unavailable("away") if failures[1] > 1 else ZeroDivisionError("a bug")
        return await unread(reader, shards)

    monkeypatch.setattr(bench.store, "begin_reading", begin_reading)
    monkeypatch.setattr(bench.store, "unread", failing)
    worker = await _worker(bench, target)
    running = asyncio.create_task(worker.run())
    await until_true(lambda: len(target.ids) == 1, 10, "the first event is told")
    await _confirm(bench, "2")
    bench.at += 1
    await _confirm(bench, "3")
    await until_true(lambda: len(target.ids) >= 2, 10, "the next ones are told")
    worker.close()
    async with asyncio.timeout(10):
        await running
    events = [each["event"] for each in logged]
    assert {"worker_waits", "outgoing_waits", "outgoing_failed"} <= set(events)


async def test_a_worker_that_waits_for_the_store_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not come back for that."""
    bench = Bench()

    async def away(_reader: str) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(worker_module, "TICK_S", 0.01)
    monkeypatch.setattr(bench.store, "begin_reading", away)
    worker = await _worker(bench, Told())
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    worker.close()
    async with asyncio.timeout(10):
        await running
    assert (await bench.store.shard_heads())[0].owner is None
