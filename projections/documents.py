"""What a document store can do. `memory.py` and `postgres.py` do it; one contract suite runs on both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from eventstore.store import Round


class Row(Struct, frozen=True, kw_only=True):
    """A document in a listing."""

    shard: int
    key: str
    sort: str
    doc: bytes


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """A document as it is from now on, or its removal (`doc` is `None`)."""

    shard: int
    key: str
    owner: str
    sort: str
    doc: bytes | None


class DocumentReader(Protocol):
    """How queries read. The shard is that of the document's stream."""

    async def get(self, collection: str, shard: int, key: str) -> bytes | None:
        """One document."""
        ...

    async def get_many(self, collection: str, places: Iterable[tuple[int, str]]) -> dict[str, bytes]:
        """Those that exist of documents at (shard, key), by key, in one exchange with the store."""
        ...

    async def find(self, collection: str, key: str) -> tuple[int, bytes] | None:
        """One document by key alone, with its shard; only for collections that are `found_by_key`."""
        ...

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
        """Up to `limit` of an owner's documents by (sort, key), behind `after`; `sort_from` <= sort < `sort_to`.

        Only for collections that are `listed`.
        """
        ...

    async def page_everywhere(
        self,
        collection: str,
        owner: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: tuple[str, str] | None = None,
    ) -> list[Row]:
        """The same over all shards; only for collections that are `listed_everywhere`. Keys are unique over shards."""
        ...

    async def newer(self, collection: str, positions: Mapping[int, str], limit: int) -> list[Row]:
        """Documents of each shard whose sort is greater than the shard's position, in ascending order of sort."""
        ...


class DocumentStore(DocumentReader, Protocol):
    """How the worker writes, inside a round of the event store."""

    async def load(
        self, round_: Round, wanted: Mapping[str, Iterable[tuple[int, str]]]
    ) -> dict[tuple[str, str], bytes]:
        """The documents that exist, by (collection, key), for (shard, key) pairs of each collection."""
        ...

    async def save(self, round_: Round, changes: Mapping[str, Sequence[Change]]) -> None:
        """Writes changes by collection; they become visible with the round's commit."""
        ...

    async def versions(self) -> dict[str, int]:
        """The collections that hold all of the log, with the version of the projection that made them."""
        ...
