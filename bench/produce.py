"""What a bare acknowledged produce takes: the ceiling of a write, from a process with one event loop as the API is."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from api.command_log.kafka_bus import BATCH_BYTES_MAX, REQUEST_TIMEOUT_MS
from eventstore.command_topic import create_topic
from eventstore.shards import SHARDS_DEFAULT

KEY = b"account:user_00000000000000000000000000000000"
VALUE = bytes(700)
"""About as large as the commands that it is compared with."""


async def produced(servers: str, topic: str, *, rate: float, seconds: float) -> Sequence[float]:
    """Sends `rate` records a second, evenly spaced; answers how long each acks=all took, in seconds and sorted.

    The producer has the settings of the product's own, and the partitions of the topic take turns.
    """
    await create_topic((servers,), topic, SHARDS_DEFAULT)
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=False,
        linger_ms=0,
        max_batch_size=BATCH_BYTES_MAX,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    await producer.start()
    took: list[float] = []

    async def send(partition: int) -> None:
        began = time.perf_counter()
        await producer.send_and_wait(topic, VALUE, KEY, partition=partition)
        took.append(time.perf_counter() - began)

    try:
        for partition in range(SHARDS_DEFAULT):
            await send(partition)
        took.clear()
        at = time.perf_counter()
        async with asyncio.TaskGroup() as sending:
            for number in range(int(rate * seconds)):
                at += 1 / rate
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                sending.create_task(send(number % SHARDS_DEFAULT))
    finally:
        await producer.stop()
    return sorted(took)
