"""Read models inside a round: which documents the events change, and their new contents."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domain.recorded import Recorded
from eventstore.errors import DataError
from projections.documents import Change
from projections.projection import AnyProjection
from projections.registry import all_projections, projections_of

DOCUMENTS_MAX = 100_000
"""Documents that one lane keeps; the least recently used goes first."""

Place = tuple[str, str]
"""(collection, key)."""


class Touched:
    """The documents that the events of one round change, in the order of the events."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self.folds: list[tuple[AnyProjection, str, Recorded]] = []
        self.shards: dict[Place, int] = {}
        for each in recorded:
            for projection in projections_of(type(each.event)):
                key = projection.key(each)
                if key is not None:
                    self.folds.append((projection, key, each))
                    self.shards[projection.collection, key] = each.shard

    def missing(self, cache: "DocumentCache") -> dict[str, list[tuple[int, str]]]:
        """(shard, key) by collection of those that have to be loaded."""
        wanted: dict[str, list[tuple[int, str]]] = {}
        for (collection, key), shard in self.shards.items():
            if (collection, key) not in cache:
                wanted.setdefault(collection, []).append((shard, key))
        return wanted

    def fold(self, cache: "DocumentCache", loaded: Mapping[Place, bytes]) -> dict[Place, Any]:
        """The new documents; `None` for one that is removed. `DataError` where a fold fails: a bug of one command."""
        known = all_projections()
        documents: dict[Place, Any] = {
            (collection, key): known[collection].decode(doc) for (collection, key), doc in loaded.items()
        }
        for projection, key, recorded in self.folds:
            place = (projection.collection, key)
            before = documents[place] if place in documents else cache.get(place)
            try:
                documents[place] = projection.evolve(before, recorded)
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

    def __init__(self, size_max: int = DOCUMENTS_MAX) -> None:
        self._size_max = size_max
        self._documents: OrderedDict[Place, tuple[int, Any]] = OrderedDict()

    def __contains__(self, place: Place) -> bool:
        return place in self._documents

    def get(self, place: Place) -> Any:
        """The document, or `None`."""
        found = self._documents.get(place)
        if found is None:
            return None
        self._documents.move_to_end(place)
        return found[1]

    def put(self, documents: Mapping[Place, Any], shards: Mapping[Place, int]) -> None:
        """Keeps what a committed round has written."""
        for place, document in documents.items():
            self._documents[place] = (shards[place], document)
        while len(self._documents) > self._size_max:
            self._documents.popitem(last=False)

    def drop(self, places: Iterable[Place]) -> None:
        """Forgets documents that a round has changed, or may have: its commit's answer was lost."""
        for place in places:
            self._documents.pop(place, None)

    def drop_shards(self, shards: frozenset[int]) -> None:
        """Forgets all documents of shards that are no longer ours."""
        for place in [place for place, (shard, _) in self._documents.items() if shard in shards]:
            del self._documents[place]

    def clear(self) -> None:
        """Forgets everything."""
        self._documents.clear()
