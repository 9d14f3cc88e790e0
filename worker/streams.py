"""Streams in memory: a state with its place in the log, folded once and then kept while its shard is ours."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import structlog
from msgspec import Struct

from domain.aggregate import Aggregate
from domain.instant import Instant
from domain.registry import aggregates
from eventstore import codec
from eventstore.records import StoredStream

log = structlog.get_logger(__name__)

STREAMS_MAX = 50_000
"""Streams that one lane keeps; the least recently used goes first."""


class LiveStream(Struct, kw_only=True):
    """A stream as the last round of this lane left it."""

    stream: str
    shard: int
    aggregate: Aggregate[Any]
    state: Any
    version: int = 0
    mac: bytes = b""
    last_at: Instant = 0
    snapshot_at: int = 0
    snapshot_bytes: int = 0
    """The size of the last snapshot."""
    quarantined: bool = False
    """It cannot be folded: its commands are set aside in order until an operator releases it."""
    quarantine_stored: bool = False


def new_stream(shard: int, stream: str) -> LiveStream | None:
    """A stream that was never written; `None` for a category that this release does not know."""
    aggregate = aggregates().get(stream.partition(":")[0])
    if aggregate is None:
        return None
    return LiveStream(stream=stream, shard=shard, aggregate=aggregate, state=aggregate.initial())


def snapshot_outdated(stored: StoredStream) -> bool:
    """Tells whether the snapshot is of another `state_version`: such a stream is folded from its first event."""
    aggregate = aggregates().get(stored.head.stream.partition(":")[0])
    return (
        aggregate is not None
        and stored.head.snapshot is not None
        and stored.head.snapshot_version != aggregate.state_version
    )


def fold(stored: StoredStream, *, whole: bool = False) -> LiveStream:
    """The stream from its snapshot and events, or from all events (`whole`).

    One that cannot be folded comes back quarantined, never as an error: others must go on.
    """
    head = stored.head
    live = new_stream(head.shard, head.stream)
    assert live is not None, f"the stream {head.stream} was written by a release that knew its category"
    live.quarantined = live.quarantine_stored = head.quarantined
    try:
        if head.snapshot is not None and not whole:
            live.last_at, live.state = codec.decode_state(live.aggregate, head.snapshot)
            live.snapshot_at, live.snapshot_bytes = head.snapshot_at, len(head.snapshot)
        for event in stored.events:
            decoded = codec.decode_event(event.type, event.schema_version, event.payload)
            live.state = live.aggregate.evolve(live.state, decoded)
            live.last_at = event.at
    except Exception:
        log.exception("stream_fold_failed", stream=head.stream, version=head.version)
        live.quarantined = True
    live.version, live.mac = head.version, head.mac
    return live


class StreamCache:
    """The streams of a lane's shards, bounded. What a round touched is dropped when the round is rolled back."""

    def __init__(self, size_max: int = STREAMS_MAX) -> None:
        self._size_max = size_max
        self._streams: dict[str, LiveStream] = {}

    def get(self, stream: str) -> LiveStream | None:
        """The stream, if it is here."""
        return self._streams.get(stream)

    def put(self, lives: Iterable[LiveStream]) -> None:
        """Keeps streams as a committed round left them."""
        for live in lives:
            self._streams.pop(live.stream, None)
            self._streams[live.stream] = live
        # From the front, where those are that no round has touched for longest.
        for name in list(islice(self._streams, max(0, len(self._streams) - self._size_max))):
            del self._streams[name]

    def drop(self, streams: Iterable[str]) -> None:
        """Forgets streams that a rolled-back round has changed in memory."""
        for stream in streams:
            self._streams.pop(stream, None)

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets all streams of shards that are no longer ours."""
        self.drop([name for name, live in self._streams.items() if live.shard in shards])
