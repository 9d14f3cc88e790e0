"""Commands in Kafka before anybody reads them: a backlog that a worker is then timed on."""

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from bench.workload import Keyed
from eventstore.command_topic import CONSUMER_GROUP

BATCH_BYTES = 512 * 1024


async def produce(servers: str, topic: str, records: Iterable[Keyed]) -> int:
    """Writes the records in batches as large as they get; answers how many there were."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, max_batch_size=BATCH_BYTES, acks="all")
    await producer.start()
    try:
        open_batches: dict[int, BatchBuilder] = {}
        sent = []
        count = 0
        for shard, key, value in records:
            count += 1
            batch = open_batches.get(shard) or producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=shard))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
            open_batches[shard] = batch
        for shard, batch in open_batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=shard))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return count


async def forget_progress(servers: str, topic: str, shards: Sequence[int]) -> None:
    """Sets what lag tools see back to the start, so that an empty database may read the topic again."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=CONSUMER_GROUP, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, shard) for shard in shards]
        consumer.assign(places)
        await consumer.commit({place: OffsetAndMetadata(0, "") for place in places})
    finally:
        await consumer.stop()
