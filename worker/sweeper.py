"""Wakes streams that change by themselves: sends their sweep command once they are due, through the log like any other.

Nobody depends on it being punctual: every decision first emits what is due. It serves streams that nobody touches.
"""

import uuid
from collections.abc import Sequence

import structlog

from domain.envelope import Actor, Envelope, Header
from domain.instant import MINUTE, Instant
from domain.registry import aggregates
from eventstore import codec
from eventstore.shards import shard_of
from eventstore.store import ShardStore
from worker import metrics
from worker.source import CommandSink

log = structlog.get_logger(__name__)

SWEEP_NAMESPACE = uuid.UUID("5f1d2f0c-4f0e-5b59-9c43-6b0f6f9b6a10")
SWEEP_MAX = 500
"""Sweeps under way at a time: what is due beyond them waits until some are applied."""
SWEEP_AGAIN: Instant = 10 * MINUTE
"""A stream still due after this is swept under another id: a clock that was behind may have found nothing due yet."""
SYSTEM = Actor(kind="system", id="sweeper")


class Sweeper:
    """Sends each due stream its sweep once; `total` is the number of shards there are."""

    def __init__(self, store: ShardStore, sink: CommandSink, total: int) -> None:
        self._store = store
        self._sink = sink
        self._total = total
        self._sent: dict[str, str] = {}
        """The id of the last sweep of each stream that was due when we last looked."""

    async def sweep(self, shards: Sequence[int], at: Instant) -> int:
        """Sweeps the streams of `shards` that are due at `at`; answers how many sweeps it has sent.

        The command id is derived from stream and due time, so two workers that both see it due apply it once.
        """
        due = await self._store.due(shards, at, SWEEP_MAX)
        self._sent = {stream: self._sent[stream] for stream, _ in due if stream in self._sent}
        count = 0
        for stream, due_at in due:
            envelope = sweep_envelope(stream, due_at, at)
            if envelope is not None and self._sent.get(stream) != envelope.header.id:
                shard = shard_of(stream, self._total)
                await self._sink.send(shard, stream.encode(), codec.encode_command(envelope))
                self._sent[stream] = envelope.header.id
                count += 1
        if count:
            metrics.streams_swept.inc(count)
            log.info("streams_swept", count=count)
        return count


def sweep_envelope(stream: str, due_at: Instant, at: Instant) -> Envelope | None:
    """The command that wakes a stream; `None` for a category that never changes by itself."""
    category, _, entity = stream.partition(":")
    aggregate = aggregates().get(category)
    if aggregate is None or aggregate.sweep is None:
        return None
    again = max(at - due_at, 0) // SWEEP_AGAIN
    command_id = str(uuid.uuid5(SWEEP_NAMESPACE, f"{stream}@{due_at}+{again}"))
    header = Header(id=command_id, attempt=command_id, stream=stream, account=entity, actor=SYSTEM, issued_at=at)
    return Envelope(header=header, body=aggregate.sweep())
