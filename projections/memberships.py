"""The same memberships by user: an organization's shard is not the user's, so these are listed across all shards."""

from domain.member import MemberAdded, MemberRemoved
from projections.documents import DocumentReader
from projections.members import MEMBER_EVENTS, MemberView, evolve_member, member_key
from projections.paging import Cursor, Page, instant_sort, read_page_everywhere
from projections.projection import Projection

PROJECTION = Projection(
    collection="memberships",
    version=1,
    document=MemberView,
    events=MEMBER_EVENTS,
    key=member_key,
    evolve=evolve_member,
    owner=lambda view: view.user_id,
    sort=lambda view: instant_sort(view.joined_at),
    begun_by=[MemberAdded, MemberRemoved],
    listed_everywhere=True,
)


async def list_memberships(
    documents: DocumentReader, user_id: str, *, limit: int, after: Cursor | None = None
) -> Page[MemberView]:
    """The user's memberships of all organizations, the newest first."""
    return await read_page_everywhere(documents, PROJECTION, user_id, limit=limit, after=after)
