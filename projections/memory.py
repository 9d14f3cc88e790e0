"""Documents in memory: devnet's read models, and the reference that the Postgres ones are held against."""

from collections.abc import Iterable, Mapping, Sequence

from eventstore.memory.rounds import MemoryRound
from eventstore.store import Round
from projections.documents import Change, Row
from projections.registry import all_projections


class MemoryDocuments:
    """See `documents.DocumentStore`."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Change]] = {}
        self._owned: dict[str, dict[str, set[str]]] = {}

    async def get(self, collection: str, shard: int, key: str) -> bytes | None:
        """See `documents.DocumentReader`."""
        found = self._documents.get(collection, {}).get(key)
        return found.doc if found is not None and found.shard == shard else None

    async def get_many(self, collection: str, places: Iterable[tuple[int, str]]) -> dict[str, bytes]:
        """See `documents.DocumentReader`."""
        stored = self._documents.get(collection, {})
        found = [stored[key] for shard, key in places if key in stored and stored[key].shard == shard]
        return {each.key: each.doc for each in found if each.doc is not None}

    async def find(self, collection: str, key: str) -> tuple[int, bytes] | None:
        """See `documents.DocumentReader`."""
        found = self._documents.get(collection, {}).get(key)
        return None if found is None or found.doc is None else (found.shard, found.doc)

    async def page(
        self,
        collection: str,
        shard: int,
        owner: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: tuple[str, str] | None = None,
        sort_from: str | None = None,
        sort_to: str | None = None,
    ) -> list[Row]:
        """See `documents.DocumentReader`."""
        return [
            row
            for row in self._behind(collection, owner, newest_first=newest_first, after=after)
            if row.shard == shard
            and (sort_from is None or row.sort >= sort_from)
            and (sort_to is None or row.sort < sort_to)
        ][:limit]

    async def page_everywhere(
        self,
        collection: str,
        owner: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: tuple[str, str] | None = None,
    ) -> list[Row]:
        """See `documents.DocumentReader`."""
        return self._behind(collection, owner, newest_first=newest_first, after=after)[:limit]

    def _behind(self, collection: str, owner: str, *, newest_first: bool, after: tuple[str, str] | None) -> list[Row]:
        """An owner's documents in order, from the place on."""
        documents = self._documents.get(collection, {})
        keys = self._owned.get(collection, {}).get(owner, set())
        rows = sorted((_row(documents[key]) for key in keys), key=_place, reverse=newest_first)
        if after is None:
            return rows
        return [row for row in rows if (_place(row) < after if newest_first else _place(row) > after)]

    async def newer(self, collection: str, positions: Mapping[int, str], limit: int) -> list[Row]:
        """See `documents.DocumentReader`."""
        found = [
            _row(each)
            for each in self._documents.get(collection, {}).values()
            if each.shard in positions and each.sort > positions[each.shard]
        ]
        return sorted(found, key=lambda row: (row.sort, row.key))[:limit]

    async def load(
        self, round_: Round, wanted: Mapping[str, Iterable[tuple[int, str]]]
    ) -> dict[tuple[str, str], bytes]:
        """See `documents.DocumentStore`."""
        assert isinstance(round_, MemoryRound)
        await round_.step()
        return {
            (collection, key): doc
            for collection, pairs in wanted.items()
            for shard, key in pairs
            if (doc := await self.get(collection, shard, key)) is not None
        }

    async def save(self, round_: Round, changes: Mapping[str, Sequence[Change]]) -> None:
        """See `documents.DocumentStore`."""
        assert isinstance(round_, MemoryRound)
        await round_.step()
        round_.stage(lambda: self._apply(changes))

    async def versions(self) -> dict[str, int]:
        """See `documents.DocumentStore`: what is in memory was made by this very process."""
        return {name: projection.version for name, projection in all_projections().items()}

    def _apply(self, changes: Mapping[str, Sequence[Change]]) -> None:
        for collection, changed in changes.items():
            documents = self._documents.setdefault(collection, {})
            owned = self._owned.setdefault(collection, {})
            for change in changed:
                before = documents.get(change.key)
                same = before is not None and change.doc is not None and before.owner == change.owner
                if before is not None and not same:
                    owned[before.owner].discard(change.key)
                if change.doc is None:
                    documents.pop(change.key, None)
                    continue
                documents[change.key] = change
                if not same:
                    owned.setdefault(change.owner, set()).add(change.key)


def _place(row: Row) -> tuple[str, str]:
    return row.sort, row.key


def _row(change: Change) -> Row:
    assert change.doc is not None
    return Row(shard=change.shard, key=change.key, sort=change.sort, doc=change.doc)
