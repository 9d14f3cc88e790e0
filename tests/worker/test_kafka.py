"""What the worker asks of Kafka ends in time, and leaves nothing behind."""

import asyncio
import gc
from typing import Any

import pytest

from worker import kafka
from worker.kafka import KafkaSink, KafkaSource
from worker.source import LogUnavailable

NOBODY = ("127.0.0.1:1",)


class Endless:
    """A client that tries again and again, as aiokafka's does while the group has no coordinator."""

    async def commit(self, _offsets: object) -> None:
        """Never done."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Never done either."""
        await asyncio.Event().wait()


async def test_a_commit_without_a_coordinator_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane goes on, and a worker that is to end ends."""
    monkeypatch.setattr(kafka, "COMMIT_S", 0.05)
    monkeypatch.setattr(kafka, "REQUEST_TIMEOUT_MS", 50)
    source = KafkaSource(NOBODY, "commands")
    reader: Any = Endless()
    source._reader = reader
    async with asyncio.timeout(5):
        with pytest.raises(LogUnavailable):
            await source.commit({0: 1})
        await source.close()


async def test_a_producer_that_cannot_start_is_not_left_behind() -> None:
    """Each try of a sweep would leave another."""
    sink = KafkaSink(NOBODY, "commands")
    with pytest.raises(LogUnavailable):
        await sink.send(0, b"", b"")
    await sink.close()
    left = [each for each in gc.get_objects() if type(each).__name__ == "AIOKafkaProducer" and not each._closed]
    assert left == []
