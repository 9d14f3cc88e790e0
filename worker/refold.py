"""Folds the log into documents again, a chunk of events at a time, and writes them to tables beside the live ones.

The documents of a stream belong to it alone. So where events come stream by stream, each document is folded whole in
memory and written once; only those of a stream that began in an earlier chunk are read back first.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from domain.message import Event
from domain.recorded import Recorded
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import DirectConnection
from projections.projection import AnyProjection

LOAD = """
SELECT key, doc::text FROM {table} WHERE shard = $1 AND key = ANY ($2::text[])
"""

CHANGE = """
UPDATE {table} AS stored SET owner = changed.owner, sort = changed.sort, doc = changed.doc::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS changed (key, owner, sort, doc)
WHERE stored.shard = $1 AND stored.key = changed.key
"""

REMOVE = "DELETE FROM {table} WHERE shard = $1 AND key = ANY ($2::text[])"

COLUMNS = ("shard", "key", "owner", "sort", "doc")


class Pile:
    """The documents of one collection that a chunk has touched."""

    def __init__(self, projection: AnyProjection, table: str) -> None:
        self.projection = projection
        self.table = table
        self.documents: dict[str, Any] = {}
        self.stored: set[str] = set()
        """Keys whose documents are in the table."""
        self._waiting: dict[str, list[Recorded]] = {}
        """Events that are still to be folded, by the document's key."""

    async def load(self, connection: DirectConnection, shard: int, keys: Iterable[str]) -> None:
        """Reads those of `keys` that the table has."""
        for row in await connection.fetch(LOAD.format(table=self.table), shard, list(keys)):
            self.documents[row["key"]] = self.projection.decode(row["doc"].encode())
            self.stored.add(row["key"])

    def add(self, recorded: Recorded) -> None:
        """Takes an event in for `fold`."""
        try:
            key = self.projection.key(recorded)
        except Exception as error:
            raise self.projection.cannot_fold(recorded) from error
        if key is None:
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = [recorded]
        else:
            waiting.append(recorded)

    def fold(self) -> None:
        """Folds what was taken in."""
        fold, documents = self.projection.fold, self.documents
        for key, recorded in self._waiting.items():
            documents[key] = fold(documents.get(key), recorded)
        self._waiting = {}

    async def flush(self, connection: DirectConnection, shard: int) -> None:
        """Writes what the chunk has made of the documents, and forgets them."""
        new = self._rows(shard, [place for place in self.documents.items() if place[1] and place[0] not in self.stored])
        if new:
            await connection.copy_records_to_table(self.table, records=new, columns=COLUMNS)
        changed = self._rows(shard, [(key, self.documents[key]) for key in self.stored if self.documents[key]])
        if changed:
            _, *columns = zip(*changed, strict=True)
            await connection.execute(CHANGE.format(table=self.table), shard, *columns)
        removed = [key for key in self.stored if self.documents[key] is None]
        if removed:
            await connection.execute(REMOVE.format(table=self.table), shard, removed)
        self.documents = {}
        self.stored = set()

    def _rows(self, shard: int, documents: Iterable[tuple[str, Any]]) -> list[tuple[int, str, str, str, str]]:
        owner, sort, encode = self.projection.owner, self.projection.sort, self.projection.encode
        return [(shard, key, owner(each), sort(each), encode(each).decode()) for key, each in documents]


class Refold:
    """Folds chunks of one shard's events into tables of their own. One chunk at a time for each of these."""

    def __init__(self, shard: int, projections: Sequence[AnyProjection], table_of: Callable[[str], str]) -> None:
        self._shard = shard
        self._piles = [Pile(projection, table_of(projection.collection)) for projection in projections]
        self._folding: dict[type[Event], tuple[Pile, ...]] = {}

    def _piles_of(self, event: type[Event]) -> tuple[Pile, ...]:
        found = self._folding.get(event)
        if found is None:
            found = tuple(pile for pile in self._piles if event in pile.projection.events)
            self._folding[event] = found
        return found

    async def load(self, connection: DirectConnection, recorded: Iterable[Recorded]) -> None:
        """Reads the documents that these events change and the tables may have from before."""
        wanted: dict[int, tuple[Pile, set[str]]] = {}
        for each in recorded:
            for pile in self._piles_of(type(each.event)):
                key = pile.projection.key(each)
                if key is not None:
                    wanted.setdefault(id(pile), (pile, set()))[1].add(key)
        with translated():
            for pile, keys in wanted.values():
                await pile.load(connection, self._shard, keys)

    def fold(self, recorded: Iterable[Recorded]) -> None:
        """Folds events, in order. `CannotFold` names the event and the collection: this release of it is wrong."""
        piles_of = self._folding
        for each in recorded:
            event = type(each.event)
            for pile in piles_of.get(event) or self._piles_of(event):
                pile.add(each)
        for pile in self._piles:
            pile.fold()

    async def flush(self, connection: DirectConnection) -> None:
        """Writes the documents of the chunk inside the connection's transaction, and forgets them."""
        with translated():
            for pile in self._piles:
                if pile.documents:
                    await pile.flush(connection, self._shard)
