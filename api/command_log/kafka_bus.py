"""Commands to Kafka, through a producer that is replaced after a failure.

The worker applies a command once however often it arrives, so the producer needs no idempotence of its own, which in
this client can lock itself up for good.
After a failed send nothing more is handed to the producer until a new one has reached the brokers: meanwhile every
send fails at once, certain not to have been written. But a failure of one partition alone stops no other: the producer
works on, and is replaced, in case it has locked itself up for that partition, without a send that fails for it.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
)

from api.background import ended
from api.command_log.bus import Ack, BusUnavailable, BusUncertain
from api.errors import ApiError
from api.timers import in_time, timers_of
from eventstore.codec import COMMAND_SIZE_BYTES_MAX
from eventstore.command_topic import TopicUnusable, check_topic
from eventstore.kafka_client import end_client, paced
from telemetry import logs, metrics

REQUEST_TIMEOUT_MS = 3_000
SEND_S = 5.0
"""An upper bound for one send, should the producer not keep its own."""
BATCH_BYTES_MAX = 1024 * 1024
RETRY_S = 0.5
RENEW_S = 30.0
"""How often a producer that works for most partitions is replaced for the sake of one."""
OF_ONE_PARTITION = (LeaderNotAvailableError, NotEnoughReplicasError, NotEnoughReplicasAfterAppendError)
"""What brokers answer, so the way to them is well: they have no leader or too few replicas."""
STOP_S = 7.0
"""Twice the request's time limit and a bit: a record may be tried for the last time just before it is given up."""

_failures = metrics.counter("bus_failures", "Sends to the command log that failed.", ("error",))
_rebuilds = metrics.counter("bus_rebuilds", "Producers that were replaced after a failure.")


class KafkaBus:
    """See `bus.CommandBus`. `start` returns once Kafka was reached, `stop` sends what is under way."""

    def __init__(self, servers: tuple[str, ...], topic: str, shards: int) -> None:
        self._servers = servers
        self._topic = topic
        self._shards = shards
        self._producer: AIOKafkaProducer | None = None
        self._probe: AIOKafkaConsumer | None = None
        self._why: str | None = "not started"
        self._broken = asyncio.Event()
        self._written: dict[int, float] = {}
        """By shard, when its last record was acknowledged, in monotonic seconds."""
        self._renew_at = 0.0
        self._rebuilder: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._log = logs.get(part="bus", topic=topic)

    async def start(self) -> None:
        """Connects. `TopicUnusable` for a topic of another store or a compacted one, `KafkaError` without brokers."""
        self._producer = await self._connected()
        self._why = None
        self._rebuilder = asyncio.create_task(self._rebuild(), name="kafka-bus")

    async def stop(self) -> None:
        """Delivers what was handed over, within a bound, and disconnects."""
        await ended(self._rebuilder)
        await self._drop_probe()
        producer, self._producer = self._producer, None
        self._why = "stopped"
        if producer is not None:
            await end_client(producer, STOP_S)
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=STOP_S)

    def problem(self) -> str | None:
        """Why the log cannot be used just now, for `/ready`; `None` while all is well."""
        return self._why

    async def ends(self) -> Mapping[int, int]:
        """See `bus.CommandBus`. One caller at a time."""
        try:
            async with asyncio.timeout(SEND_S):
                if self._probe is None:
                    self._probe = paced(
                        AIOKafkaConsumer(
                            bootstrap_servers=list(self._servers),
                            enable_auto_commit=False,
                            request_timeout_ms=REQUEST_TIMEOUT_MS,
                        )
                    )
                    await self._probe.start()
                places = [TopicPartition(self._topic, shard) for shard in range(self._shards)]
                found = await self._probe.end_offsets(places)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop_probe()
            raise BusUnavailable(f"{type(error).__name__}: {error}") from error
        return {place.partition: end for place, end in found.items()}

    async def _drop_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            await end_client(probe, STOP_S)

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `bus.CommandBus`."""
        producer = self._producer
        if producer is None:
            raise BusUnavailable(self._why or "not connected")
        delivery: asyncio.Future[Any] | None = None
        began = time.monotonic()
        try:
            sending = producer.send(self._topic, value=value, key=key, partition=shard)
            delivery = sent = await in_time(sending, SEND_S)
            written = await _acknowledged(sent, began + SEND_S - time.monotonic())
        except MessageSizeTooLargeError:
            raise ApiError("command_too_large", limit_bytes=COMMAND_SIZE_BYTES_MAX) from None
        except (KafkaError, TimeoutError, OSError, AssertionError) as error:
            self._fail(producer, error, shard, began)
            raise BusUncertain(type(error).__name__) from error
        finally:
            if delivery is not None and not delivery.done():  # given up, or the caller was cancelled
                delivery.add_done_callback(_forget)
        self._written[shard] = time.monotonic()
        return Ack(shard=shard, offset=written.offset)

    def _fail(self, producer: AIOKafkaProducer, error: BaseException, shard: int, began: float) -> None:
        _failures.labels(type(error).__name__).inc()
        if self._producer is not producer:
            return
        if self._is_of_one(error, shard, began):
            self._log.warning("partition_failed", shard=shard, error=type(error).__name__)
            if time.monotonic() >= self._renew_at:
                self._renew_at = time.monotonic() + RENEW_S
                self._broken.set()
        else:
            self._why = f"{type(error).__name__}: {error}"
            self._log.warning("bus_broke", error=self._why)
            self._producer = None
            self._broken.set()
            # What it has in hand may still arrive: its senders are told that they cannot know.
            self._let_go(producer)

    def _is_of_one(self, error: BaseException, shard: int, began: float) -> bool:
        """Whether the failure is the partition's own: by its kind, or since others were written to meanwhile."""
        if isinstance(error, OF_ONE_PARTITION):
            return True
        return any(at > began for other, at in self._written.items() if other != shard)

    def _let_go(self, producer: AIOKafkaProducer) -> None:
        """Closes it in the background, which sends what it has in hand."""
        closing = asyncio.create_task(end_client(producer, STOP_S))
        self._stopping.add(closing)
        closing.add_done_callback(self._stopping.discard)

    async def _rebuild(self) -> None:
        while True:
            await self._broken.wait()
            try:
                connected = await self._connected()
            except (KafkaError, TopicUnusable, OSError, TimeoutError) as error:
                if self._producer is None:
                    self._why = f"{type(error).__name__}: {error}"
                await asyncio.sleep(RETRY_S)
                continue
            before, self._producer = self._producer, connected
            if before is not None:
                self._let_go(before)
            self._why = None
            self._broken.clear()
            _rebuilds.inc()
            self._log.info("bus_recovered")

    async def _connected(self) -> AIOKafkaProducer:
        await check_topic(self._servers, self._topic, self._shards)
        producer = paced(
            AIOKafkaProducer(
                bootstrap_servers=list(self._servers),
                acks="all",
                enable_idempotence=False,
                linger_ms=0,
                max_batch_size=BATCH_BYTES_MAX,
                max_request_size=2 * BATCH_BYTES_MAX,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                retry_backoff_ms=50,
            )
        )
        try:
            await producer.start()
            await producer.partitions_for(self._topic)
        except BaseException:
            await end_client(producer, STOP_S)
            raise
        return producer


async def _acknowledged(delivery: "asyncio.Future[Any]", timeout_s: float) -> Any:
    """What the brokers say, or `TimeoutError`. Whoever stops waiting, the send goes on: it may have been written."""
    done: asyncio.Future[None] = delivery.get_loop().create_future()

    def wake(_delivery: object = None) -> None:
        if not done.done():
            done.set_result(None)

    timer = timers_of(delivery.get_loop()).call_later(timeout_s, wake)
    delivery.add_done_callback(wake)
    try:
        await done
    finally:
        timer.cancel()
        delivery.remove_done_callback(wake)
    if not delivery.done():
        raise TimeoutError
    return delivery.result()


def _forget(delivery: "asyncio.Future[object]") -> None:
    """Takes note of a late error, so that nobody is told about an unread one."""
    if not delivery.cancelled():
        delivery.exception()
