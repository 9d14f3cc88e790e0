"""Wakes streams that change by themselves: sends their sweep command once they are due, through the log like any other.

Nobody depends on it being punctual: every decision first emits what is due. It serves streams that nobody touches.
"""

import uuid
from collections.abc import Sequence

import structlog

from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from domain.registry import aggregates
from eventstore import codec
from eventstore.shards import shard_of
from eventstore.store import ShardStore
from worker.source import CommandSink

log = structlog.get_logger(__name__)

SWEEP_NAMESPACE = uuid.UUID("5f1d2f0c-4f0e-5b59-9c43-6b0f6f9b6a10")
SWEEP_MAX = 500
SYSTEM = Actor(kind="system", id="sweeper")


async def sweep(store: ShardStore, sink: CommandSink, shards: Sequence[int], at: Instant, total: int) -> int:
    """Sends a sweep for each of up to `SWEEP_MAX` streams of `shards` that are due at `at`; answers how many.

    The command id is derived from stream and due time, so two workers that both see it due apply it once.
    `total` is the number of shards there are.
    """
    due = await store.due(shards, at, SWEEP_MAX)
    for stream, due_at in due:
        envelope = sweep_envelope(stream, due_at, at)
        if envelope is not None:
            await sink.send(shard_of(stream, total), stream.encode(), codec.encode_command(envelope))
    if due:
        log.info("streams_swept", count=len(due))
    return len(due)


def sweep_envelope(stream: str, due_at: Instant, at: Instant) -> Envelope | None:
    """The command that wakes a stream; `None` for a category that never changes by itself."""
    category, _, entity = stream.partition(":")
    aggregate = aggregates().get(category)
    if aggregate is None or aggregate.sweep is None:
        return None
    command_id = str(uuid.uuid5(SWEEP_NAMESPACE, f"{stream}@{due_at}"))
    header = Header(id=command_id, attempt=command_id, stream=stream, account=entity, actor=SYSTEM, issued_at=at)
    return Envelope(header=header, body=aggregate.sweep())
