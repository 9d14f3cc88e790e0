"""Streams in memory: a state with its place in the log, folded once and then kept while its shard is ours."""

from collections.abc import Callable, Iterable, Iterator, Sized
from functools import cache
from operator import attrgetter
from typing import Any, get_origin

import structlog
from msgspec import Struct
from msgspec.structs import fields

from domain.aggregate import Aggregate
from domain.instant import Instant
from domain.registry import aggregates
from eventstore import codec
from eventstore.records import StoredStream
from worker.recent import Recent

log = structlog.get_logger(__name__)

STREAMS_BYTES_MAX = 128 * 1024 * 1024
"""Of all streams that one lane keeps; the least recently used goes first."""
COLLECTIONS = (dict, list, set)
STREAM_BYTES, ENTRY_BYTES = 3_000, 800
"""Of a stream with nothing in it, and of a hold, the largest thing that a state has many of (measured: 425 to 800)."""


class LiveStream(Struct, kw_only=True):
    """A stream as the last round of this lane left it."""

    stream: str
    entity_id: str
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
    entries: int = 0
    """What its state's collections held when they were last counted."""
    count_at: int = 0
    """The version from which on they are counted anew."""


def new_stream(shard: int, stream: str) -> LiveStream | None:
    """A stream that was never written; `None` for a category that this release does not know."""
    category, _, entity_id = stream.partition(":")
    aggregate = aggregates().get(category)
    if aggregate is None:
        return None
    return LiveStream(stream=stream, entity_id=entity_id, shard=shard, aggregate=aggregate, state=aggregate.initial())


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


def size_bytes(live: LiveStream) -> int:
    """What the stream occupies, on the safe side: by how much its state's collections hold, which are what can grow.

    They are counted when there may be a quarter more than before, not with each command. Changes those two fields.
    """
    if live.version >= live.count_at:
        live.entries = _entries(live.state)
        live.count_at = live.version + 1 + live.entries // 4
    return STREAM_BYTES + ENTRY_BYTES * live.entries


def _entries(state: Struct) -> int:
    return sum(map(len, _collections_of(type(state))(state)))


@cache
def _collections_of(kind: type[Struct]) -> Callable[[Struct], Iterable[Sized]]:
    """What reads the collections of a state, those of its parts too. Looked up once: this is asked for each command."""
    paths = list(_paths(kind))
    if len(paths) > 1:
        return attrgetter(*paths)
    return lambda state: [attrgetter(path)(state) for path in paths]


def _paths(kind: type[Struct]) -> Iterator[str]:
    for field in fields(kind):
        growing = get_origin(field.type) or field.type
        if growing in COLLECTIONS:
            yield field.name
        elif isinstance(growing, type) and issubclass(growing, Struct):
            yield from (f"{field.name}.{path}" for path in _paths(growing))


class StreamCache:
    """The streams of a lane's shards, bounded. What a round touched is dropped when the round is rolled back."""

    def __init__(self, bytes_max: int = STREAMS_BYTES_MAX) -> None:
        self._streams = Recent[str, LiveStream](bytes_max)

    @property
    def size_bytes(self) -> int:
        """What all streams occupy."""
        return self._streams.size_bytes

    def get(self, stream: str) -> LiveStream | None:
        """The stream, if it is here."""
        return self._streams.get(stream)

    def put(self, lives: Iterable[LiveStream]) -> None:
        """Keeps streams as a committed round left them."""
        for live in lives:
            self._streams.put(live.stream, live, size_bytes(live))
        self._streams.trim()

    def drop(self, streams: Iterable[str]) -> None:
        """Forgets streams that a rolled-back round has changed in memory."""
        for stream in streams:
            self._streams.drop(stream)

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets all streams of shards that are no longer ours."""
        self.drop([name for name, live in self._streams.items() if live.shard in shards])
