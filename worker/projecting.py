"""Read models inside a round: which documents the events change, and their new contents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.recorded import Recorded
from eventstore.errors import DataError
from projections.documents import Change
from projections.projection import AnyProjection
from projections.registry import all_projections, projections_of
from worker.recent import Recent

DOCUMENTS_BYTES_MAX = 64 * 1024 * 1024
"""Of all documents that one lane keeps; the least recently used goes first."""
DOCUMENT_BYTES, DOCUMENT_FACTOR = 500, 3
"""Of a document with nothing in it, and how much more memory than stored bytes it takes (measured: 1.2 to 2.6)."""

Place = tuple[str, str]
"""(collection, key)."""


class Touched:
    """The documents that the events of one round change, in the order of the events."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self.folds: list[tuple[AnyProjection, Place, Recorded]] = []
        self.shards: dict[Place, int] = {}
        self.sizes: dict[Place, int] = {}
        """Bytes of those that `changes` has encoded."""
        self._continued: list[Place] = []
        """Those of which an earlier version may be there that counts."""
        for each in recorded:
            kind = type(each.event)
            for projection in projections_of(kind):
                key = projection.key(each)
                if key is None:
                    continue
                place = (projection.collection, key)
                self.folds.append((projection, place, each))
                if place not in self.shards:
                    self.shards[place] = each.shard
                    if kind not in projection.begun_by:
                        self._continued.append(place)

    def missing(self, cache: "DocumentCache") -> dict[str, list[tuple[int, str]]]:
        """(shard, key) by collection of those that have to be loaded."""
        wanted: dict[str, list[tuple[int, str]]] = {}
        for place in self._continued:
            if place not in cache:
                collection, key = place
                wanted.setdefault(collection, []).append((self.shards[place], key))
        return wanted

    def fold(self, cache: "DocumentCache", loaded: Mapping[Place, bytes]) -> dict[Place, Any]:
        """The new documents; `None` for one that is removed. `DataError` where a fold fails: a bug of one command."""
        known = all_projections()
        documents: dict[Place, Any] = {place: cache.get(place) for place in self._continued}
        documents |= {place: known[place[0]].decode(doc) for place, doc in loaded.items()}
        for projection, place, recorded in self.folds:
            try:
                documents[place] = projection.evolve(documents.get(place), recorded)
            except Exception as error:
                raise DataError(f"{projection.collection} cannot fold {type(recorded.event).__name__}") from error
        return documents

    def changes(self, documents: Mapping[Place, Any]) -> dict[str, Sequence[Change]]:
        """What is to be written, by collection."""
        known = all_projections()
        changes: dict[str, list[Change]] = {}
        for (collection, key), document in documents.items():
            change = _change(known[collection], self.shards[collection, key], key, document)
            changes.setdefault(collection, []).append(change)
            self.sizes[collection, key] = len(change.doc or b"")
        return {collection: changes[collection] for collection in sorted(changes)}


def _change(projection: AnyProjection, shard: int, key: str, document: Any) -> Change:
    if document is None:
        return Change(shard=shard, key=key, owner="", sort="", doc=None)
    return Change(
        shard=shard,
        key=key,
        owner=projection.owner(document),
        sort=projection.sort(document),
        doc=projection.encode(document),
    )


class DocumentCache:
    """Documents of a lane's shards as the last committed round left them, bounded; absent ones are known too."""

    def __init__(self, bytes_max: int = DOCUMENTS_BYTES_MAX) -> None:
        self._documents = Recent[Place, tuple[int, Any]](bytes_max)

    def __contains__(self, place: Place) -> bool:
        return place in self._documents

    @property
    def size_bytes(self) -> int:
        """What all documents occupy."""
        return self._documents.size_bytes

    def get(self, place: Place) -> Any:
        """The document, or `None`."""
        found = self._documents.get(place)
        return None if found is None else found[1]

    def put(self, documents: Mapping[Place, Any], shards: Mapping[Place, int], sizes: Mapping[Place, int]) -> None:
        """Keeps what a committed round has written, but for documents that will hardly change again.

        `sizes` are those of the documents as they were stored.
        """
        known = all_projections()
        for place, document in documents.items():
            if document is None or not known[place[0]].done(document):
                size_bytes = DOCUMENT_BYTES + DOCUMENT_FACTOR * sizes.get(place, 0)
                self._documents.put(place, (shards[place], document), size_bytes)
            else:
                self._documents.drop(place)
        self._documents.trim()

    def drop(self, places: Iterable[Place]) -> None:
        """Forgets documents that a round has changed, or may have: its commit's answer was lost."""
        for place in places:
            self._documents.drop(place)

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets all documents of shards that are no longer ours."""
        self.drop([place for place, (shard, _) in self._documents.items() if shard in shards])
