"""Documents by their keys, several in one exchange: a listing never asks for them one by one."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection

D = TypeVar("D", bound=Struct)


async def read_many(
    documents: DocumentReader,
    projection: Projection[D],
    shards: int,
    keys: Iterable[str],
    stream_of: Callable[[str], str],
) -> dict[str, D]:
    """Those that exist, by key; `stream_of(key)` is the stream that a document belongs to."""
    places = {key: shard_of(stream_of(key), shards) for key in keys}
    found = await documents.get_many(projection.collection, ((shard, key) for key, shard in places.items()))
    return {key: projection.decode(doc) for key, doc in found.items()}
