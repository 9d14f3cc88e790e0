"""Read models inside a round: which documents the events change, and their new contents."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from msgspec import Struct

from domain.message import Event
from domain.recorded import Recorded
from eventstore.errors import DataError
from projections.documents import Change
from projections.projection import AnyProjection, CannotFold
from projections.registry import projections_of
from worker.recent import Recent

DOCUMENTS_BYTES_MAX = 64 * 1024 * 1024
"""Of all documents that one lane keeps; the least recently used goes first."""
DOCUMENT_BYTES, DOCUMENT_FACTOR = 500, 3
"""Of a document with nothing in it, and how much more memory than stored bytes it takes (measured: 1.2 to 2.6)."""

Place = tuple[int, str, str]
"""(shard, collection, key); the shard is that of the document's stream."""
ABSENT = object()
"""Kept where it is known that there is no document."""


class Touch(Struct, gc=False):
    """One document, and the events of the round that change it."""

    projection: AnyProjection
    place: Place
    events: list[Recorded]
    document: Any = None
    """As it was before the round, then as it is after it; `None` where there is none."""
    size_bytes: int = 0
    """As it is stored."""


class Touched:
    """The documents that the events of one round change. Each is looked for, folded and encoded once."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self._touches: defaultdict[AnyProjection, dict[str, Touch]] = defaultdict(dict)
        """By key."""
        self._continued: list[Touch] = []
        """Those of which an earlier version may be there that counts."""
        self._missing: list[Touch] = []
        for each in recorded:
            for projection, begins in _changed_by(type(each.event)):
                key = projection.key(each)
                if key is None:
                    continue
                by_key = self._touches[projection]
                known = by_key.get(key)
                if known is not None:
                    known.events.append(each)
                    continue
                by_key[key] = made = Touch(projection, (each.shard, projection.collection, key), [each])
                if not begins:
                    self._continued.append(made)

    def __iter__(self) -> Iterator[Touch]:
        """All of them, collection by collection."""
        return chain.from_iterable(by_key.values() for by_key in self._touches.values())

    @property
    def places(self) -> list[Place]:
        """Where the documents are."""
        return [touch.place for touch in self]

    def missing(self, cache: "DocumentCache") -> dict[str, list[tuple[int, str]]]:
        """(shard, key) by collection of those that have to be loaded; the others are taken from the cache."""
        wanted: dict[str, list[tuple[int, str]]] = {}
        for touch in self._continued:
            kept = cache.get(touch.place)
            if kept is None:
                self._missing.append(touch)
                shard, collection, key = touch.place
                wanted.setdefault(collection, []).append((shard, key))
            elif kept is not ABSENT:
                touch.document = kept
        return wanted

    def fold(self, loaded: Mapping[tuple[str, str], bytes]) -> None:
        """Makes the new documents of those `loaded` by (collection, key), and of those that were at hand.

        `DataError` where a fold fails: a bug of one command.
        """
        for touch in self._missing:
            doc = loaded.get(touch.place[1:])
            if doc is not None:
                touch.document = touch.projection.decode(doc)
        try:
            for touch in self:
                touch.document = touch.projection.fold(touch.document, touch.events)
        except CannotFold as error:
            raise DataError(str(error)) from error

    def changes(self) -> dict[str, Sequence[Change]]:
        """What is to be written, by collection."""
        changed = {
            projection.collection: [_change(projection, touch) for touch in by_key.values()]
            for projection, by_key in self._touches.items()
        }
        return {collection: changed[collection] for collection in sorted(changed)}


@cache
def _changed_by(kind: type[Event]) -> tuple[tuple[AnyProjection, bool], ...]:
    """The projections of a kind of event, each with whether such an event begins a document anew."""
    return tuple((each, kind in each.begun_by) for each in projections_of(kind))


def _change(projection: AnyProjection, touch: Touch) -> Change:
    shard, _, key = touch.place
    document = touch.document
    if document is None:
        return Change(shard=shard, key=key, owner="", sort="", doc=None)
    doc = projection.encode(document)
    touch.size_bytes = len(doc)
    return Change(shard=shard, key=key, owner=projection.owner(document), sort=projection.sort(document), doc=doc)


class DocumentCache:
    """Documents of a lane's shards as the last committed round left them, bounded; absent ones are known too."""

    def __init__(self, bytes_max: int = DOCUMENTS_BYTES_MAX) -> None:
        self._documents = Recent[Place, Any](bytes_max)
        self.get: Callable[[Place], Any] = self._documents.get
        """The document, `ABSENT`, or `None` where nothing is known."""

    @property
    def size_bytes(self) -> int:
        """What all documents occupy."""
        return self._documents.size_bytes

    def put(self, touched: Iterable[Touch]) -> None:
        """Keeps what a committed round has written, but for documents that will hardly change again."""
        documents = self._documents
        for touch in touched:
            document = touch.document
            done = touch.projection.done
            if document is None or done is None or not done(document):
                size_bytes = DOCUMENT_BYTES + DOCUMENT_FACTOR * touch.size_bytes
                documents.put(touch.place, ABSENT if document is None else document, size_bytes)
            else:
                documents.drop(touch.place)
        documents.trim()

    def drop(self, places: Iterable[Place]) -> None:
        """Forgets documents that a round has changed, or may have: its commit's answer was lost."""
        for place in places:
            self._documents.drop(place)

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets all documents of shards that are no longer ours."""
        self.drop([place for place, _ in self._documents.items() if place[0] in shards])
