"""Members of an organization with their levels: what authorizing looks up, and what the organization lists."""

from msgspec import Struct, structs

from domain.instant import Instant
from domain.member import Level, MemberAdded, MemberLevelChanged, MemberRemoved
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page
from projections.projection import Projection

MEMBER_EVENTS = (MemberAdded, MemberLevelChanged, MemberRemoved)


class MemberView(Struct, frozen=True, kw_only=True):
    """A membership; there is a document for it as long as it lasts."""

    org_id: str
    user_id: str
    level: Level
    joined_at: Instant


def membership_id(org_id: str, user_id: str) -> str:
    """What names a membership: the key of its document, and the principal whose stamp it moves."""
    return f"member_{org_id}_{user_id}"


def member_key(recorded: Recorded) -> str:
    """The membership that an event is about."""
    event = recorded.event
    assert isinstance(event, MEMBER_EVENTS)
    return membership_id(recorded.entity_id, event.user_id)


def evolve_member(view: MemberView | None, recorded: Recorded) -> MemberView | None:
    """The membership after an event; none after its end."""
    match recorded.event:
        case MemberAdded() as event:
            return MemberView(
                org_id=recorded.entity_id, user_id=event.user_id, level=event.level, joined_at=event.added_at
            )
        case MemberLevelChanged(level=level) if view is not None:
            return structs.replace(view, level=level)
        case MemberRemoved():
            return None
        case _:
            return view


PROJECTION = Projection(
    collection="members",
    version=1,
    document=MemberView,
    events=MEMBER_EVENTS,
    key=member_key,
    evolve=evolve_member,
    owner=lambda view: view.org_id,
    sort=lambda view: instant_sort(view.joined_at),
    begun_by=[MemberAdded, MemberRemoved],
)


async def get_member(documents: DocumentReader, shards: int, org_id: str, user_id: str) -> MemberView | None:
    """The user's membership of the organization, or `None`."""
    shard = shard_of(f"org:{org_id}", shards)
    doc = await documents.get(PROJECTION.collection, shard, membership_id(org_id, user_id))
    return None if doc is None else PROJECTION.decode(doc)


async def list_members(
    documents: DocumentReader, shards: int, org_id: str, *, limit: int, after: Cursor | None = None
) -> Page[MemberView]:
    """The organization's members, who joined last first."""
    return await read_page(documents, PROJECTION, shards, f"org:{org_id}", limit=limit, after=after)
