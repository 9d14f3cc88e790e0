"""What the worker asks of Kafka ends in time, and leaves nothing behind."""

import asyncio
import gc

import pytest
from aiokafka import AIOKafkaConsumer

from devnet.kafka_server import KafkaServer
from worker import kafka
from worker.kafka import KafkaSink, KafkaSource
from worker.source import LogUnavailable

NOBODY = ("127.0.0.1:1",)


class Endless(AIOKafkaConsumer):  # type: ignore[misc]  # it has no types
    """A client that tries again and again, as aiokafka's does while the group has no coordinator."""

    async def commit(self, _offsets: object) -> None:
        """Never done."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Never done either."""
        self._closed = True
        await asyncio.Event().wait()


async def test_a_commit_without_a_coordinator_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane goes on, and a worker that is to end ends."""
    monkeypatch.setattr(kafka, "COMMIT_S", 0.05)
    monkeypatch.setattr(kafka, "REQUEST_TIMEOUT_MS", 50)
    source = KafkaSource(NOBODY, "commands")
    source._reader = Endless(bootstrap_servers=NOBODY)
    async with asyncio.timeout(5):
        with pytest.raises(LogUnavailable):
            await source.commit({0: 1})
        await source.close()


class CancelsItself(AIOKafkaConsumer):  # type: ignore[misc]  # it has no types
    """A client whose inner task is cancelled before it has begun, so that its `stop` seems to be cancelled."""

    async def stop(self) -> None:
        """Ends as if somebody had cancelled it."""
        self._closed = True
        raise asyncio.CancelledError


async def test_a_client_that_cancels_itself_does_not_cancel_the_worker() -> None:
    """Seen when Kafka was restarted: both workers ended."""
    source = KafkaSource(NOBODY, "commands")
    source._reader = CancelsItself(bootstrap_servers=NOBODY)
    await source.close()


async def test_a_consumer_may_be_dropped_as_soon_as_it_is_assigned(kafka_server: KafkaServer) -> None:
    """Nothing of it goes on."""
    before = asyncio.all_tasks()
    source = KafkaSource((kafka_server.bootstrap_servers,), "no_such_topic")
    await source._started()
    await source.assign({0: 0})
    await source.close()
    assert asyncio.all_tasks() == before


async def test_a_producer_that_cannot_start_is_not_left_behind() -> None:
    """Each try of a sweep would leave another."""
    sink = KafkaSink(NOBODY, "commands")
    with pytest.raises(LogUnavailable):
        await sink.send(0, b"", b"")
    await sink.close()
    left = [each for each in gc.get_objects() if type(each).__name__ == "AIOKafkaProducer" and not each._closed]
    assert left == []
