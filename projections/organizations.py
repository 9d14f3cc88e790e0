"""Organizations by id. The name is sealed under the organization's own data key."""

from collections.abc import Iterable

from msgspec import Struct, structs

from domain.instant import Instant
from domain.organization import OrganizationCreated, OrganizationRenamed
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.lookup import read_many
from projections.paging import instant_sort, read_page_everywhere
from projections.projection import Projection


class OrganizationView(Struct, frozen=True, kw_only=True):
    """An organization as its members see it; whose members they are is in `members`."""

    id: str
    name_sealed: str
    created_by: str
    created_at: Instant


def _evolve(view: OrganizationView | None, recorded: Recorded) -> OrganizationView | None:
    event = recorded.event
    if isinstance(event, OrganizationCreated):
        return OrganizationView(
            id=recorded.entity_id,
            name_sealed=event.name_sealed,
            created_by=event.created_by,
            created_at=event.created_at,
        )
    if view is None or not isinstance(event, OrganizationRenamed):
        return view
    return structs.replace(view, name_sealed=event.name_sealed)


PROJECTION = Projection(
    collection="organizations",
    version=2,
    document=OrganizationView,
    events=[OrganizationCreated, OrganizationRenamed],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.created_by,
    sort=lambda view: instant_sort(view.created_at),
    begun_by=[OrganizationCreated],
    listed_everywhere=True,
)


async def get_organization(documents: DocumentReader, shards: int, org_id: str) -> OrganizationView | None:
    """The organization, or `None`."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"org:{org_id}", shards), org_id)
    return None if doc is None else PROJECTION.decode(doc)


async def get_organizations(
    documents: DocumentReader, shards: int, org_ids: Iterable[str]
) -> dict[str, OrganizationView]:
    """Those that are there, by id."""
    return await read_many(documents, PROJECTION, shards, org_ids, lambda org_id: f"org:{org_id}")


async def count_made_by(documents: DocumentReader, user_id: str, *, most: int) -> int:
    """How many organizations the user has made, member or not; `most` of them are looked at."""
    page = await read_page_everywhere(documents, PROJECTION, user_id, limit=most)
    return len(page.items)
