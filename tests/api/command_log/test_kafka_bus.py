"""Commands to a real Kafka: acknowledged, refused, and after the broker came back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError, NotEnoughReplicasError

from api.command_log.bus import BusUnavailable, BusUncertain
from api.command_log.kafka_bus import KafkaBus
from api.errors import ApiError
from devnet.servers import KafkaServer, unique_topic
from eventstore.command_topic import TopicUnusable, create_topic

SHARDS = 4
RECOVERS_S = 60.0


@pytest.fixture
async def topic(kafka: str) -> str:
    """A topic of four shards."""
    name = unique_topic()
    await create_topic((kafka,), name, SHARDS)
    return name


@pytest.fixture
async def bus(kafka: str, topic: str) -> AsyncIterator[KafkaBus]:
    """A bus that has reached the broker."""
    made = KafkaBus((kafka,), topic, SHARDS)
    await made.start()
    yield made
    await made.stop()


async def read(kafka: str, topic: str, shard: int, count: int) -> list[bytes]:
    """The first records of a shard."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(topic, shard)
        consumer.assign([place])
        consumer.seek(place, 0)
        async with asyncio.timeout(10):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_records_land_on_their_shard_in_order(kafka: str, topic: str, bus: KafkaBus) -> None:
    """An acknowledgement names the shard that was asked for and the next offset of it."""
    acks = [await bus.send(3, b"user:1", b"record %d" % number) for number in range(5)]
    assert [(ack.shard, ack.offset) for ack in acks] == [(3, number) for number in range(5)]
    assert await read(kafka, topic, 3, 5) == [b"record %d" % number for number in range(5)]
    assert await bus.ends() == {0: 0, 1: 0, 2: 0, 3: 5}
    assert bus.problem() is None


async def test_many_at_once_are_all_acknowledged(bus: KafkaBus) -> None:
    """A thousand parallel sends each have an offset of their own."""
    acks = await asyncio.gather(*[bus.send(number % SHARDS, b"k", b"v" * 500) for number in range(1_000)])
    assert len({(ack.shard, ack.offset) for ack in acks}) == 1_000


async def test_a_record_too_large_is_told(bus: KafkaBus) -> None:
    """What no broker would take is 413 and breaks nothing."""
    with pytest.raises(ApiError) as caught:
        await bus.send(0, b"k", b"v" * 3_000_000)
    assert caught.value.status == 413
    await bus.send(0, b"k", b"v")


@pytest.mark.parametrize(
    ("partitions", "policy", "why"), [(SHARDS + 1, "delete", "5 partitions"), (SHARDS, "compact", "compacted")]
)
async def test_refuses_a_topic_that_does_not_fit(kafka: str, partitions: int, policy: str, why: str) -> None:
    """A topic of another store, or one that deletes commands, is refused at the start, with what to do."""
    name = unique_topic()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs={"cleanup.policy": policy})])
    async with asyncio.timeout(10):  # the brokers learn of a new topic one after the other
        while (await admin.describe_topics([name]))[0]["error_code"]:
            await asyncio.sleep(0.01)
    await admin.close()
    with pytest.raises(TopicUnusable, match=why):
        await KafkaBus((kafka,), name, SHARDS).start()


async def test_refuses_a_topic_that_is_not_there(kafka: str) -> None:
    """Before `migrate` there is no topic, and the API makes none."""
    with pytest.raises(TopicUnusable, match="worker migrate"):
        await KafkaBus((kafka,), unique_topic(), SHARDS).start()


def _fail_partition(bus: KafkaBus, shard: int, error: Exception, hold: asyncio.Event) -> None:
    """From now on the producer at hand fails one partition, once `hold` is set; the others are the broker's own."""
    producer: Any = bus._producer
    send = producer.send

    async def failing(topic: str, *, partition: int, **record: Any) -> Any:
        if partition != shard:
            return await send(topic, partition=partition, **record)
        await hold.wait()
        raise error

    producer.send = failing


async def _fails(bus: KafkaBus, shard: int) -> None:
    with pytest.raises(BusUncertain):
        await bus.send(shard, b"k", b"v")


async def test_a_partition_without_replicas_fails_no_other(bus: KafkaBus) -> None:
    """Its own sends are uncertain; all others go on, also while the producer is replaced for it."""
    first, now = bus._producer, asyncio.Event()
    now.set()
    _fail_partition(bus, 0, NotEnoughReplicasError(), now)
    await _fails(bus, 0)
    async with asyncio.timeout(RECOVERS_S):
        while bus._producer is first:
            await asyncio.gather(*[bus.send(shard, b"k", b"v") for shard in (1, 2, 3)])
            assert bus.problem() is None
    assert (await bus.send(0, b"k", b"v")).offset >= 0


async def test_a_silent_partition_is_told_from_a_silent_broker(bus: KafkaBus) -> None:
    """A send that times out while others are acknowledged leaves the producer; one without any replaces it."""
    now = asyncio.Event()
    _fail_partition(bus, 0, KafkaTimeoutError(), now)
    failing = asyncio.create_task(_fails(bus, 0))
    await asyncio.sleep(0)
    await bus.send(1, b"k", b"v")
    now.set()
    await failing
    assert bus.problem() is None
    await bus.send(1, b"k", b"v")
    async with asyncio.timeout(RECOVERS_S):
        while bus._broken.is_set():
            await asyncio.sleep(0.01)
    _fail_partition(bus, 0, KafkaTimeoutError(), now)
    await _fails(bus, 0)
    assert bus.problem() is not None


@pytest.mark.crash
async def test_recovers_by_itself_when_the_broker_comes_back(kafka_server: KafkaServer) -> None:
    """While the broker is away a send says at once that nothing was written; afterwards all is as before."""
    servers, name = kafka_server.bootstrap_servers, unique_topic()
    await create_topic((servers,), name, SHARDS)
    bus = KafkaBus((servers,), name, SHARDS)
    await bus.start()
    try:
        await bus.send(0, b"k", b"before")
        await asyncio.to_thread(kafka_server.kill)
        with pytest.raises(BusUncertain):
            await bus.send(0, b"k", b"during")
        loop = asyncio.get_running_loop()
        asked = loop.time()
        with pytest.raises(BusUnavailable):
            await bus.send(0, b"k", b"after the first")
        assert loop.time() - asked < 0.1
        assert bus.problem() is not None
        await asyncio.to_thread(kafka_server.start)
        async with asyncio.timeout(RECOVERS_S):
            while bus.problem() is not None:
                await asyncio.sleep(0.05)
        assert (await bus.send(0, b"k", b"again")).offset >= 1
    finally:
        await bus.stop()
