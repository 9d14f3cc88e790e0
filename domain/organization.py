"""An organization: its name (sealed), its members with their levels, and who is invited.

Membership is decided here alone, by the organization's single writer: of two last admins who leave at once one stays,
and an invitation that is accepted twice at once makes one membership. Its account is a stream of its own.
"""

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct, field

from domain import invitation, member
from domain.aggregate import Aggregate, Answer
from domain.erasure import membership_lock
from domain.errors import Conflict
from domain.instant import Instant
from domain.invitation import (
    AcceptInvitation,
    InvitationCommand,
    InvitationEvent,
    InvitationExpired,
    Invitations,
    InviteMember,
    SweepOrganization,
)
from domain.member import (
    ChangeMemberLevel,
    GrantLevel,
    LeaveForGood,
    MemberAdded,
    MemberCommand,
    MemberEvent,
    Members,
    RemoveMember,
)
from domain.message import Claim, Command, Event


class CreateOrganization(Command, frozen=True, kw_only=True, tag="org.create"):
    """Makes an organization; `created_by` becomes its first member, with level `admin`."""

    category = "org"
    org_id: str
    name_sealed: str
    created_by: str
    place: int | None = None
    """Which of its creator's organizations it is, where there can be only so many; `None`: nobody counts."""

    def claims(self) -> tuple[Claim, ...]:
        """Not for somebody who is being erased; and two that are made at once have different places."""
        lock = membership_lock(self.created_by)
        if self.place is None:
            return (lock,)
        value = f"{self.created_by}/{self.place}"
        message = "Another organization was made in the same moment."
        return (lock, Claim(kind="organizations", value=value, code="organization_place_taken", message=message))


class RenameOrganization(Command, frozen=True, kw_only=True, tag="org.rename"):
    """Changes the name. `by` is the member who asks."""

    category = "org"
    by: str
    name_sealed: str


class OrganizationCreated(Event, frozen=True, kw_only=True, tag="org.created"):
    """The organization exists, with its creator as admin."""

    name_sealed: str
    created_by: str
    created_at: Instant


class OrganizationRenamed(Event, frozen=True, kw_only=True, tag="org.renamed"):
    """The name as it is now."""

    name_sealed: str


class Organization(Struct, kw_only=True):
    """What decisions need to know of an organization."""

    exists: bool = False
    name_sealed: str = ""
    members: Members = field(default_factory=dict)
    invitations: Invitations = field(default_factory=Invitations)


COMMANDS = (CreateOrganization, RenameOrganization, *member.COMMANDS, *invitation.COMMANDS)
EVENTS = (OrganizationCreated, OrganizationRenamed, *member.EVENTS, *invitation.EVENTS)
OrganizationCommand: TypeAlias = (
    CreateOrganization | RenameOrganization | MemberCommand | InvitationCommand | SweepOrganization
)
OrganizationEvent: TypeAlias = OrganizationCreated | OrganizationRenamed | MemberEvent | InvitationEvent


def decide(org: Organization, command: OrganizationCommand, at: Instant) -> Sequence[OrganizationEvent]:
    """See each command. `NotFound` for who is no member, `Forbidden` below admin, `Conflict` for the last admin."""
    if isinstance(command, CreateOrganization):
        return _create(org, command, at)
    if not org.exists:
        raise member.no_organization()
    match command:
        case ChangeMemberLevel() | RemoveMember() | LeaveForGood() | GrantLevel():
            return member.decide(org.members, command, at)
        case SweepOrganization():
            return []
        case RenameOrganization(name_sealed=name):
            member.require_admin(org.members, command.by)
            return [] if name == org.name_sealed else [OrganizationRenamed(name_sealed=name)]
        case _:
            return invitation.decide(org.invitations, org.members, command, at)


def _create(org: Organization, command: CreateOrganization, at: Instant) -> Sequence[OrganizationEvent]:
    if org.exists:
        raise Conflict("organization_exists", "The organization exists already.")
    return [
        OrganizationCreated(name_sealed=command.name_sealed, created_by=command.created_by, created_at=at),
        MemberAdded(user_id=command.created_by, level="admin", added_at=at),
    ]


def evolve(org: Organization, event: OrganizationEvent) -> Organization:
    """Writes down what happened, each part its own."""
    if isinstance(event, OrganizationCreated):
        org.exists = True
        org.name_sealed = event.name_sealed
    elif isinstance(event, OrganizationRenamed):
        org.name_sealed = event.name_sealed
    elif isinstance(event, member.EVENTS):
        member.evolve(org.members, event)
    else:
        invitation.evolve(org.invitations, event)
    return org


def due(org: Organization, at: Instant) -> Sequence[InvitationExpired]:
    """Invitations that nobody used in time."""
    return invitation.due(org.invitations, at)


def next_due(org: Organization) -> Instant | None:
    """When the next invitation expires."""
    return invitation.next_due(org.invitations)


def answer(org: Organization, command: OrganizationCommand, _events: Sequence[Event]) -> Answer:
    """The name, until when an invitation is open, or the member's level, as they are after the command."""
    match command:
        case CreateOrganization(org_id=org_id):
            return {"org_id": org_id, "name_sealed": org.name_sealed}
        case RenameOrganization():
            return {"name_sealed": org.name_sealed}
        case InviteMember(invitation_id=invitation_id):
            return {"invitation_id": invitation_id, "expires_at": org.invitations.open[invitation_id].expires_at}
        case AcceptInvitation(user_id=user_id) | ChangeMemberLevel(user_id=user_id) | GrantLevel(user_id=user_id):
            return {"user_id": user_id, "level": org.members[user_id]}
        case _:
            return {}


AGGREGATE = Aggregate(
    category="org",
    state=Organization,
    commands=COMMANDS,
    events=EVENTS,
    decide=decide,
    evolve=evolve,
    answer=answer,
    due=due,
    next_due=next_due,
    sweep=SweepOrganization,
    state_version=2,
)
