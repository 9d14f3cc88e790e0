"""Pages of documents: how a listing walks an owner's documents without holding anything between two calls."""

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

from msgspec import Struct

from domain.instant import Instant
from eventstore.shards import shard_of
from projections.documents import DocumentReader, Row
from projections.projection import Projection

D = TypeVar("D", bound=Struct)

Cursor = tuple[str, str]
"""(sort, key) of the last document of a page: it survives a rebuild."""


class Page(Struct, Generic[D], frozen=True, kw_only=True):
    """Some documents of a listing, and where the next page begins; `None` on the last."""

    items: Sequence[D]
    next_after: Cursor | None


@lru_cache(maxsize=256)
def instant_sort(at: Instant) -> str:
    """A text that sorts as the instant does. Kept, as a round and a day have one each."""
    return str(at).zfill(20)


async def read_page(
    documents: DocumentReader,
    projection: Projection[D],
    shards: int,
    stream: str,
    *,
    limit: int,
    after: Cursor | None = None,
) -> Page[D]:
    """Up to `limit` documents of the stream's owner, newest first."""
    shard, owner = shard_of(stream, shards), stream.partition(":")[2]
    return await page_of(documents, projection, shard, owner, limit=limit, after=after)


async def page_of(
    documents: DocumentReader,
    projection: Projection[D],
    shard: int,
    owner: str,
    *,
    limit: int,
    after: Cursor | None = None,
) -> Page[D]:
    """The same for documents whose owner is a part of the stream, such as one key of an account."""
    assert projection.listed, f"{projection.collection} has no index for listings"
    rows = await documents.page(projection.collection, shard, owner, limit=limit + 1, after=after)
    return _page(projection, rows, limit)


async def read_period(
    documents: DocumentReader,
    projection: Projection[D],
    shards: int,
    stream: str,
    start: Instant,
    end: Instant,
    *,
    page: int,
    newest_first: bool = False,
) -> AsyncIterator[D]:
    """All documents of the stream's owner that sort from `start` up to `end`, holding one page at a time."""
    assert projection.listed, f"{projection.collection} has no index for listings"
    after: Cursor | None = None
    shard, owner = shard_of(stream, shards), stream.partition(":")[2]
    while start < end:
        rows = await documents.page(
            projection.collection,
            shard,
            owner,
            limit=page,
            newest_first=newest_first,
            after=after,
            sort_from=instant_sort(start),
            sort_to=instant_sort(end),
        )
        for row in rows:
            yield projection.decode(row.doc)
        if len(rows) < page:
            return
        after = (rows[-1].sort, rows[-1].key)


async def read_page_everywhere(
    documents: DocumentReader,
    projection: Projection[D],
    owner: str,
    *,
    limit: int,
    after: Cursor | None = None,
    newest_first: bool = True,
) -> Page[D]:
    """The same where an owner's documents lie in many shards: the projection is `listed_everywhere`."""
    rows = await documents.page_everywhere(
        projection.collection, owner, limit=limit + 1, newest_first=newest_first, after=after
    )
    return _page(projection, rows, limit)


def _page(projection: Projection[D], rows: Sequence[Row], limit: int) -> Page[D]:
    """The page of one row more than it shows, which tells whether there is another."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(
        items=[projection.decode(row.doc) for row in shown],
        next_after=(shown[-1].sort, shown[-1].key) if more else None,
    )
