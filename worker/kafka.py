"""The log in Kafka, as a lane reads it: `assign` and `seek`, no group membership."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from eventstore.command_topic import CONSUMER_GROUP
from eventstore.kafka_client import end_client, hear_commits, paced
from worker.committing import Committer
from worker.source import LogBounds, LogUnavailable, OutOfRange, Record

# Said at "error" on every start of a new cluster, while Kafka makes its own topic; the client tries again by itself.
logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)

FETCH_WAIT_MS = 50
"""How long a broker keeps an empty fetch waiting; longer shows up as latency when shards move."""
REQUEST_TIMEOUT_MS = 5_000
START_S = 10.0
LOOK_S = 2.0
"""How long a look at a shard's log may take, of each kind."""
COMMIT_S = 1.0
"""How long a commit may take: the client itself would try for ever."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OutOfRange(partition.partition for partition in error.args[0]) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"{type(error).__name__}: {error}") from error


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Ends what takes longer as `LogUnavailable`: some calls of the client try again for ever."""
    with _translated():
        async with asyncio.timeout(seconds):
            yield


class KafkaSource:
    """See `worker.source.CommandSource`. Connects when it is first used, and again after an error."""

    def __init__(self, servers: tuple[str, ...], topic: str) -> None:
        self._servers = list(servers)
        self._topic = topic
        self._reader: AIOKafkaConsumer | None = None
        self._probe: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._assigned: dict[int, int] = {}
        self._committer = Committer(self._commit_assigned)

    async def _started(self) -> AIOKafkaConsumer:
        async with self._starting:  # commits come beside fetches
            if self._reader is None:
                reader = paced(
                    AIOKafkaConsumer(
                        bootstrap_servers=self._servers,
                        group_id=CONSUMER_GROUP,
                        enable_auto_commit=False,
                        auto_offset_reset="none",
                        fetch_max_wait_ms=FETCH_WAIT_MS,
                        max_partition_fetch_bytes=1024 * 1024,
                        fetch_max_bytes=8 * 1024 * 1024,
                        request_timeout_ms=REQUEST_TIMEOUT_MS,
                    )
                )
                await _start(reader)
                hear_commits(reader)
                self._reader = reader
                self._point(reader)
            return self._reader

    def _point(self, reader: AIOKafkaConsumer) -> None:
        """No await in here: a partition without a position would be reset by the client."""
        reader.assign([TopicPartition(self._topic, shard) for shard in self._assigned])
        for shard, offset in self._assigned.items():
            reader.seek(TopicPartition(self._topic, shard), offset)

    async def assign(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`."""
        self._assigned = dict(positions)
        reader = await self._started()
        self._point(reader)

    async def fetch(self, limit: int, timeout_s: float) -> list[Record]:
        """See `worker.source.CommandSource`."""
        reader = await self._started()
        try:
            with _translated():
                batches = await reader.getmany(timeout_ms=int(timeout_s * 1_000), max_records=limit)
        except LogUnavailable:
            await self._drop_reader()
            raise
        records: list[Record] = []
        for partition, messages in batches.items():
            records += [
                Record(shard=partition.partition, offset=message.offset, value=message.value or b"")
                for message in messages
            ]
        return records

    @asynccontextmanager
    async def _prober(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A second consumer, so that looking around never moves what `fetch` reads."""
        async with self._probing:
            if self._probe is None:
                probe = paced(
                    AIOKafkaConsumer(
                        bootstrap_servers=self._servers,
                        auto_offset_reset="none",
                        fetch_max_wait_ms=FETCH_WAIT_MS,
                        request_timeout_ms=REQUEST_TIMEOUT_MS,
                    )
                )
                await _start(probe)
                self._probe = probe
            try:
                with _translated():
                    yield self._probe
            except LogUnavailable:
                probe, self._probe = self._probe, None
                await _stop(probe)
                raise

    async def bounds(self, shard: int) -> LogBounds:
        """See `worker.source.CommandSource`."""
        place = TopicPartition(self._topic, shard)
        async with self._prober() as probe, _within(LOOK_S):
            first = (await probe.beginning_offsets([place]))[place]
            end = (await probe.end_offsets([place]))[place]
        reader = await self._started()
        async with _within(LOOK_S):
            committed = await reader.committed(place)
        return LogBounds(first=first, end=end, committed=committed)

    async def read_one(self, shard: int, offset: int) -> Record | None:
        """See `worker.source.CommandSource`."""
        place = TopicPartition(self._topic, shard)
        async with self._prober() as probe:
            probe.assign([place])
            probe.seek(place, offset)
            batches = await probe.getmany(place, timeout_ms=int(LOOK_S * 1_000), max_records=1)
        for message in batches.get(place, []):
            if message.offset == offset:
                return Record(shard=shard, offset=offset, value=message.value or b"")
        return None

    async def commit(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`."""
        if not positions:
            return
        reader = await self._started()
        offsets = {
            TopicPartition(self._topic, shard): OffsetAndMetadata(offset, "") for shard, offset in positions.items()
        }
        async with _within(COMMIT_S):
            await reader.commit(offsets)

    def progressed(self, positions: Mapping[int, int]) -> None:
        """See `worker.source.CommandSource`."""
        self._committer.progressed(positions)

    async def _commit_assigned(self, positions: Mapping[int, int]) -> None:
        """The client commits offsets of assigned partitions only, and these may be others by now."""
        await self.commit({shard: at for shard, at in positions.items() if shard in self._assigned})

    async def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        await _stop(reader)

    async def close(self) -> None:
        """See `worker.source.CommandSource`."""
        await self._committer.close()
        await self._drop_reader()
        probe, self._probe = self._probe, None
        await _stop(probe)


async def _start(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Starts it, or leaves nothing of it behind."""
    try:
        async with _within(START_S):
            await client.start()
    except BaseException:
        await _stop(client)
        raise


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer | None) -> None:
    if client is not None:
        await end_client(client, REQUEST_TIMEOUT_MS / 1_000)


class KafkaSink:
    """See `worker.source.CommandSink`. Duplicates are the worker's own to recognise, so idempotence stays off."""

    def __init__(self, servers: tuple[str, ...], topic: str) -> None:
        self._servers = list(servers)
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, shard: int, key: bytes, value: bytes) -> None:
        """See `worker.source.CommandSink`."""
        try:
            producer = await self._started()
            with _translated():
                await producer.send_and_wait(self._topic, value, key=key, partition=shard)
        except LogUnavailable:
            await self.close()
            raise

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = paced(
                    AIOKafkaProducer(bootstrap_servers=self._servers, acks="all", request_timeout_ms=REQUEST_TIMEOUT_MS)
                )
                await _start(producer)
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Frees connections."""
        producer, self._producer = self._producer, None
        await _stop(producer)
