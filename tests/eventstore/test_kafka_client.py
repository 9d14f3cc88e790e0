"""A client of Kafka that is ended leaves no task and no connection, however it breaks on the way."""

import asyncio
import itertools
import os
import signal
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import GroupLoadInProgressError, KafkaConnectionError

from devnet.kafka_server import KafkaServer
from devnet.servers import unique_topic
from eventstore import kafka_client
from eventstore.command_topic import create_topic
from eventstore.kafka_client import end_client, hear_commits, paced


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for what hangs."""
    monkeypatch.setattr(kafka_client, "PART_S", 0.2)


@pytest.fixture
async def topic(kafka: str) -> str:
    """A topic of one shard."""
    name = unique_topic()
    await create_topic((kafka,), name, 1)
    return name


def others() -> set["asyncio.Task[Any]"]:
    """All tasks but the caller."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.fixture
async def before() -> set["asyncio.Task[Any]"]:
    """The tasks that are not a client's."""
    return others()


@pytest.fixture
async def reader(kafka: str, topic: str, before: object) -> AIOKafkaConsumer:
    """A consumer in the middle of a fetch."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id="formstate-test", enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.getmany(timeout_ms=50)
    return consumer


def transports(client: AIOKafkaConsumer | AIOKafkaProducer) -> list[Any]:
    """Those of all its connections."""
    connected = client._client if isinstance(client, AIOKafkaConsumer) else client.client
    return [each._writer.transport for each in connected._conns.values()]


async def cancelled() -> None:
    """As if an inner task had been cancelled before it began."""
    raise asyncio.CancelledError


async def broken() -> None:
    """As if the broker had gone."""
    raise KafkaConnectionError


async def endless() -> None:
    """As if it was tried again and again."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("part", ["_coordinator", "_fetcher"])
@pytest.mark.parametrize("close", [cancelled, broken, endless])
async def test_a_part_that_breaks_leaves_nothing(
    reader: AIOKafkaConsumer, before: set["asyncio.Task[Any]"], part: str, close: Any
) -> None:
    """Whoever ends the client goes on; the other parts' tasks end, and so do the connections."""
    opened = transports(reader)
    getattr(reader, part).close = close
    await end_client(reader, 0.2)
    assert opened
    assert all(each.is_closing() for each in opened)
    if left := others() - before:
        await asyncio.wait(left, timeout=5)
    assert others() <= before


async def test_an_error_of_our_own_is_told(reader: AIOKafkaConsumer) -> None:
    """It would be a fault of the program; what can be ended is ended all the same."""

    async def wrong() -> None:
        raise LookupError("no such thing")

    opened = transports(reader)
    reader._coordinator.close = wrong
    with pytest.raises(LookupError):
        await end_client(reader, 0.2)
    assert all(each.is_closing() for each in opened)


async def test_a_task_that_broke_before_is_no_news(reader: AIOKafkaConsumer) -> None:
    """The client's own `stop` passes over one that is over: its error would be logged when it is collected."""
    coordinator = reader._coordinator
    task = coordinator._coordination_task

    async def wrong() -> None:
        raise LookupError("no such thing")

    coordinator.ensure_coordinator_known = wrong
    reader.assign(list(reader.assignment()))
    await asyncio.wait([task], timeout=5)
    assert task.done()
    await end_client(reader, 0.2)
    assert not task._log_traceback, "asyncio would tell of an error that nobody has looked at"


async def test_whoever_is_cancelled_meanwhile_leaves_nothing(reader: AIOKafkaConsumer) -> None:
    """A process that is told to end again does not wait for a client that hangs, and does not leave it open either."""
    opened = transports(reader)
    reader._coordinator.close = endless
    caller = asyncio.create_task(end_client(reader, 60))
    await asyncio.sleep(0.05)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert all(each.is_closing() for each in opened)


async def test_a_commit_that_was_given_up_is_no_news(reader: AIOKafkaConsumer) -> None:
    """It goes on when its caller has gone, and fails when the brokers are back but not ready."""
    begun: list[asyncio.Task[Any]] = []
    back = asyncio.Event()

    async def late(*_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        begun.append(task)
        await back.wait()
        raise GroupLoadInProgressError

    reader._coordinator._do_commit_offsets = late
    hear_commits(reader)
    [place] = reader.assignment()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.commit({place: 1})
    back.set()
    [task] = begun
    await asyncio.wait([task], timeout=5)
    assert task.done()
    await asyncio.sleep(0)
    assert not task._log_traceback, "asyncio would tell of an error that nobody has looked at"
    await end_client(reader, 1)


async def test_without_a_leader_it_asks_now_and_then(reader: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers that refuse answer in no time, and a client that asks again at once takes a whole processor for it."""
    monkeypatch.setattr(kafka_client, "METADATA_PAUSE_S", 0.05)
    asked: list[float] = []

    async def refused(*_: object) -> bool:
        asked.append(asyncio.get_running_loop().time())
        return False

    reader._client._metadata_update = refused
    paced(reader)

    async def again_and_again() -> None:
        while len(asked) < 4:
            await reader._client.force_metadata_update()

    await asyncio.wait_for(again_and_again(), 5)
    assert all(later - before >= 0.04 for before, later in itertools.pairwise(asked))
    await end_client(reader, 1)


async def test_a_broker_that_hangs_keeps_no_connection(kafka_server: KafkaServer) -> None:
    """With more written than the socket takes, a polite close would wait for it for ever."""
    topic = unique_topic()
    await create_topic((kafka_server.bootstrap_servers,), topic, 1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap_servers, max_request_size=9_000_000)
    await producer.start()
    await producer.send_and_wait(topic, b"first", partition=0)
    os.kill(kafka_server.pid, signal.SIGSTOP)
    try:
        sent = await producer.send(topic, bytes(8_000_000), partition=0)
        await asyncio.sleep(0.2)
        opened = transports(producer)
        assert any(each.get_write_buffer_size() for each in opened)
        await end_client(producer, 0.2)
        await asyncio.sleep(0)
        assert all(each._sock is None for each in opened)
        sent.cancel()
    finally:
        os.kill(kafka_server.pid, signal.SIGCONT)
