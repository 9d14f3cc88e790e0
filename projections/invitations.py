"""Invitations of an organization, ended ones too; the sealed address is forgotten here when its key goes."""

from typing import Literal, TypeAlias

from msgspec import Struct, structs

from domain.instant import Instant
from domain.invitation import (
    InvitationAccepted,
    InvitationExpired,
    InvitationRevoked,
    InvitedForgotten,
    MemberInvited,
)
from domain.member import Level
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page
from projections.projection import Projection

InvitationStatus: TypeAlias = Literal["open", "accepted", "revoked", "expired"]
_EVENTS = (MemberInvited, InvitationAccepted, InvitationRevoked, InvitationExpired, InvitedForgotten)


class InvitationView(Struct, frozen=True, kw_only=True):
    """An invitation. That it has expired is told by the clock alone: see `status_at`."""

    id: str
    org_id: str
    email_sealed: str | None
    level: Level
    invited_by: str
    invited_at: Instant
    expires_at: Instant
    ended: Literal["accepted", "revoked"] | None = None
    ended_at: Instant | None = None
    accepted_by: str | None = None
    own_key: bool = False
    """See `MemberInvited`."""

    def status_at(self, now: Instant) -> InvitationStatus:
        """What it is at `now`."""
        if self.ended is not None:
            return self.ended
        return "expired" if self.expires_at <= now else "open"


def _key(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, _EVENTS)
    return event.invitation_id


def _evolve(view: InvitationView | None, recorded: Recorded) -> InvitationView | None:
    event = recorded.event
    if isinstance(event, MemberInvited):
        return InvitationView(
            id=event.invitation_id,
            org_id=recorded.entity_id,
            email_sealed=event.email_sealed,
            level=event.level,
            invited_by=event.invited_by,
            invited_at=event.invited_at,
            expires_at=event.expires_at,
            own_key=event.own_key,
        )
    if view is None:
        return None
    match event:
        case InvitationAccepted(user_id=user_id, accepted_at=at):
            return structs.replace(view, ended="accepted", ended_at=at, accepted_by=user_id, email_sealed=None)
        case InvitationRevoked(revoked_at=at):
            return structs.replace(view, ended="revoked", ended_at=at, email_sealed=None)
        case InvitationExpired() | InvitedForgotten():
            return structs.replace(view, email_sealed=None)
        case _:
            return view


PROJECTION = Projection(
    collection="invitations",
    version=2,
    document=InvitationView,
    events=_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.org_id,
    sort=lambda view: instant_sort(view.invited_at),
    begun_by=[MemberInvited],
    done=lambda view: view.ended is not None,
)


async def get_invitation(
    documents: DocumentReader, shards: int, org_id: str, invitation_id: str
) -> InvitationView | None:
    """One invitation of the organization, or `None`."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"org:{org_id}", shards), invitation_id)
    view = None if doc is None else PROJECTION.decode(doc)
    return view if view is not None and view.org_id == org_id else None


async def list_invitations(
    documents: DocumentReader, shards: int, org_id: str, *, limit: int, after: Cursor | None = None
) -> Page[InvitationView]:
    """The organization's invitations, the newest first."""
    return await read_page(documents, PROJECTION, shards, f"org:{org_id}", limit=limit, after=after)
