"""Organizations, members and invitations as clients send and see them."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from api.plain_text import Name
from api.profile import Email
from api.rfc3339 import format_instant, maybe_instant
from domain.instant import DAY, SECOND, Instant
from domain.invitation import LASTS_MAX, LASTS_MIN
from domain.member import Level
from projections.invitations import InvitationStatus, InvitationView
from projections.members import MemberView
from projections.organizations import OrganizationView

NAME_PLACE = "org.name"
EMAIL_PLACE = "org.invited_email"
EXPIRES_IN_S = 7 * DAY // SECOND

MemberLevel: TypeAlias = Annotated[
    Level,
    Meta(description="`read` sees, `write` also changes and spends, `admin` also administers the organization itself."),
]


class NewOrganization(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organization to be made."""

    name: Name


class OrganizationChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out or null stays."""

    name: Name | None = None


class OrganizationShown(Struct, frozen=True, kw_only=True):
    """An organization. Its account has its id; `level` is the caller's in it."""

    id: str
    account_id: str
    name: str
    level: Level
    created_at: str


class OrganizationList(Struct, frozen=True, kw_only=True):
    """A page of the caller's organizations, joined last first."""

    object: Literal["list"] = "list"
    data: list[OrganizationShown]
    has_more: bool
    next_cursor: str | None


class LevelChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The level that a member shall have."""

    level: MemberLevel


class MemberShown(Struct, frozen=True, kw_only=True):
    """A member. `display_name` is null where the user has none, or was erased."""

    user_id: str
    display_name: str | None
    level: Level
    joined_at: str


class MemberList(Struct, frozen=True, kw_only=True):
    """A page of members, joined last first."""

    object: Literal["list"] = "list"
    data: list[MemberShown]
    has_more: bool
    next_cursor: str | None


class MemberRemoved(Struct, frozen=True, kw_only=True):
    """A membership that has ended."""

    user_id: str
    removed: Literal[True] = True


class NewInvitation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to invite, and as what."""

    email: Email
    level: MemberLevel = "read"
    expires_in_s: Annotated[
        int, Meta(ge=LASTS_MIN // SECOND, le=LASTS_MAX // SECOND, description="Seconds; 7 days if left out.")
    ] = EXPIRES_IN_S


class InvitationShown(Struct, frozen=True, kw_only=True):
    """An invitation. Its token goes to the address alone; `email` is null once it or its owner is gone."""

    id: str
    org_id: str
    email: str | None
    level: Level
    status: InvitationStatus
    invited_by: str
    created_at: str
    expires_at: str
    ended_at: str | None
    accepted_by: str | None


class InvitationList(Struct, frozen=True, kw_only=True):
    """A page of invitations, newest first."""

    object: Literal["list"] = "list"
    data: list[InvitationShown]
    has_more: bool
    next_cursor: str | None


class Acceptance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token that came by mail."""

    token: Annotated[str, Meta(max_length=200)]


def organization_shown(view: OrganizationView, name: str, level: Level) -> OrganizationShown:
    """The organization as a member of the level sees it."""
    return OrganizationShown(
        id=view.id, account_id=view.id, name=name, level=level, created_at=format_instant(view.created_at)
    )


def member_shown(view: MemberView, display_name: str | None) -> MemberShown:
    """A member of a listing."""
    return MemberShown(
        user_id=view.user_id,
        display_name=display_name,
        level=view.level,
        joined_at=format_instant(view.joined_at),
    )


def invitation_shown(view: InvitationView, email: str | None, now: Instant) -> InvitationShown:
    """The invitation as it is at `now`."""
    return InvitationShown(
        id=view.id,
        org_id=view.org_id,
        email=email,
        level=view.level,
        status=view.status_at(now),
        invited_by=view.invited_by,
        created_at=format_instant(view.invited_at),
        expires_at=format_instant(view.expires_at),
        ended_at=maybe_instant(view.ended_at),
        accepted_by=view.accepted_by,
    )
