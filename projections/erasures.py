"""Erasures that were begun and are not finished: what goes on with them looks here."""

from msgspec import Struct, structs

from domain.erasure import ErasureBegun, ErasureFinished, UserErased, UserKept
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page_everywhere
from projections.projection import Projection

OWNER = "unfinished"
"""Of all of them: they are listed together."""


class ErasureView(Struct, frozen=True, kw_only=True):
    """An erasure under way. `erased`: the user is gone already, and what it left outside may not be."""

    user_id: str
    erasure_id: str
    email_hash: str
    begun_at: Instant
    erased: bool = False


def _evolve(view: ErasureView | None, recorded: Recorded) -> ErasureView | None:
    event = recorded.event
    if isinstance(event, ErasureBegun):
        return ErasureView(
            user_id=recorded.entity_id,
            erasure_id=event.erasure_id,
            email_hash=event.email_hash,
            begun_at=event.begun_at,
        )
    if view is None or not isinstance(event, UserErased):
        return None
    return structs.replace(view, erased=True)


PROJECTION = Projection(
    collection="erasures",
    version=1,
    document=ErasureView,
    events=[ErasureBegun, UserKept, UserErased, ErasureFinished],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda _view: OWNER,
    sort=lambda view: instant_sort(view.begun_at),
    begun_by=[ErasureBegun],
    listed_everywhere=True,
)


async def get_erasure(documents: DocumentReader, shards: int, user_id: str) -> ErasureView | None:
    """The user's, if it is not finished."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"user:{user_id}", shards), user_id)
    return None if doc is None else PROJECTION.decode(doc)


async def list_erasures(documents: DocumentReader, *, limit: int, after: Cursor | None = None) -> Page[ErasureView]:
    """The oldest first."""
    return await read_page_everywhere(documents, PROJECTION, OWNER, limit=limit, after=after, newest_first=False)
