"""Which invitations an email address has, by the address's HMAC: found when somebody with the address is erased."""

from msgspec import Struct

from domain.instant import Instant
from domain.invitation import (
    InvitationAccepted,
    InvitationExpired,
    InvitationRevoked,
    InvitedForgotten,
    MemberInvited,
)
from domain.recorded import Recorded
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page_everywhere
from projections.projection import Projection

_EVENTS = (MemberInvited, InvitationAccepted, InvitationRevoked, InvitationExpired, InvitedForgotten)


class InvitedView(Struct, frozen=True, kw_only=True):
    """An invitation whose address can be read."""

    id: str
    org_id: str
    email_hash: str
    expires_at: Instant


def _key(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, _EVENTS)
    return event.invitation_id


def _evolve(_view: InvitedView | None, recorded: Recorded) -> InvitedView | None:
    event = recorded.event
    if not isinstance(event, MemberInvited):
        return None
    return InvitedView(
        id=event.invitation_id,
        org_id=recorded.entity_id,
        email_hash=event.email_hash,
        expires_at=event.expires_at,
    )


PROJECTION = Projection(
    collection="invited",
    version=1,
    document=InvitedView,
    events=_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.email_hash,
    sort=lambda view: instant_sort(view.expires_at),
    begun_by=[MemberInvited],
    listed_everywhere=True,
)


async def list_invited(
    documents: DocumentReader, email_hash: str, *, limit: int, after: Cursor | None = None
) -> Page[InvitedView]:
    """The invitations of an address, over all organizations."""
    return await read_page_everywhere(documents, PROJECTION, email_hash, limit=limit, after=after)
