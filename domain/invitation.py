"""Invitations into an organization, as one part of it: by email address (sealed), for one use, until they expire."""

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct, field

from domain.erasing import membership_lock
from domain.errors import Conflict, Full, Invalid, NotFound
from domain.instant import DAY, MINUTE, Instant
from domain.member import Level, MemberAdded, Members, require_admin, require_seat
from domain.message import Claim, Command, Event

INVITATIONS_MAX = 200
"""Invitations that are open at once."""
ENDED_MAX = 1_000
"""Invitations that were used or revoked and are still told apart from unknown ones."""
LASTS_MIN: Instant = MINUTE
LASTS_MAX: Instant = 30 * DAY


class InviteMember(Command, frozen=True, kw_only=True, tag="org.invite"):
    """Invites an email address. `email_hash` is its HMAC, `members_max` what the plan allows; `lasts` microseconds."""

    category = "org"
    by: str
    invitation_id: str
    email_hash: str
    email_sealed: str
    level: Level
    lasts: Instant
    members_max: int | None


class RevokeInvitation(Command, frozen=True, kw_only=True, tag="org.revoke_invitation"):
    """Ends an open invitation."""

    category = "org"
    by: str
    invitation_id: str


class AcceptInvitation(Command, frozen=True, kw_only=True, tag="org.accept_invitation"):
    """Makes the holder of an invitation a member; it is used up by that."""

    category = "org"
    invitation_id: str
    user_id: str
    members_max: int | None

    def claims(self) -> tuple[Claim, ...]:
        """Not for somebody who is being erased."""
        return (membership_lock(self.user_id),)


class MemberInvited(Event, frozen=True, kw_only=True, tag="org.member_invited"):
    """An invitation is open until it is accepted, revoked, or `expires_at`."""

    invitation_id: str
    email_hash: str
    email_sealed: str
    level: Level
    invited_by: str
    invited_at: Instant
    expires_at: Instant


class InvitationRevoked(Event, frozen=True, kw_only=True, tag="org.invitation_revoked"):
    """The invitation no longer works."""

    invitation_id: str
    revoked_at: Instant


class InvitationAccepted(Event, frozen=True, kw_only=True, tag="org.invitation_accepted"):
    """The invitation is used up; `MemberAdded` follows."""

    invitation_id: str
    user_id: str
    accepted_at: Instant


class Invitation(Struct, kw_only=True, gc=False):
    """An open invitation, as far as decisions need to know it."""

    email_hash: str
    level: Level
    expires_at: Instant


class Invitations(Struct, kw_only=True):
    """Those that were not ended, by id; and how others ended: `""` for revoked, else the user who accepted."""

    open: dict[str, Invitation] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)


COMMANDS = (InviteMember, RevokeInvitation, AcceptInvitation)
EVENTS = (MemberInvited, InvitationRevoked, InvitationAccepted)
InvitationCommand: TypeAlias = InviteMember | RevokeInvitation | AcceptInvitation
InvitationEvent: TypeAlias = MemberInvited | InvitationRevoked | InvitationAccepted


def decide(
    invitations: Invitations, members: Members, command: InvitationCommand, at: Instant
) -> Sequence[InvitationEvent | MemberAdded]:
    """See each command. Admins invite and revoke; whoever holds an open invitation accepts it, once."""
    if isinstance(command, AcceptInvitation):
        return _accept(invitations, members, command, at)
    require_admin(members, command.by)
    if isinstance(command, InviteMember):
        return _invite(invitations, members, command, at)
    if invitations.ended.get(command.invitation_id) == "":
        return []
    _require_open(invitations, command.invitation_id)
    return [InvitationRevoked(invitation_id=command.invitation_id, revoked_at=at)]


def _invite(
    invitations: Invitations, members: Members, command: InviteMember, at: Instant
) -> Sequence[InvitationEvent]:
    if command.invitation_id in invitations.open:
        return []
    if command.invitation_id in invitations.ended:
        _require_open(invitations, command.invitation_id)
    if not LASTS_MIN <= command.lasts <= LASTS_MAX:
        raise Invalid("invalid_expiry", "An invitation lasts from a minute to 30 days.", param="expires_in_s")
    still_open = {key: each for key, each in invitations.open.items() if each.expires_at > at}
    for key, each in still_open.items():
        if each.email_hash == command.email_hash:
            raise Conflict("already_invited", "This address has an open invitation.", invitation_id=key)
    if len(still_open) >= INVITATIONS_MAX:
        raise Full("too_many_invitations", "There are too many open invitations.", limit=INVITATIONS_MAX)
    require_seat(members, command.members_max)
    return [
        MemberInvited(
            invitation_id=command.invitation_id,
            email_hash=command.email_hash,
            email_sealed=command.email_sealed,
            level=command.level,
            invited_by=command.by,
            invited_at=at,
            expires_at=at + command.lasts,
        )
    ]


def _accept(
    invitations: Invitations, members: Members, command: AcceptInvitation, at: Instant
) -> Sequence[InvitationEvent | MemberAdded]:
    user_id = command.user_id
    if invitations.ended.get(command.invitation_id) == user_id and user_id in members:
        return []
    invitation = _require_open(invitations, command.invitation_id)
    if invitation.expires_at <= at:
        raise Conflict("invitation_expired", "The invitation has expired; ask for a new one.")
    if user_id in members:
        raise Conflict("already_member", "The user is a member already.")
    require_seat(members, command.members_max)
    return [
        InvitationAccepted(invitation_id=command.invitation_id, user_id=user_id, accepted_at=at),
        MemberAdded(user_id=user_id, level=invitation.level, added_at=at),
    ]


def _require_open(invitations: Invitations, invitation_id: str) -> Invitation:
    """Open or expired, but neither used nor revoked."""
    ended = invitations.ended.get(invitation_id)
    if ended is not None:
        how = "was accepted before" if ended else "was revoked"
        raise Conflict("invitation_closed", f"The invitation {how}.")
    invitation = invitations.open.get(invitation_id)
    if invitation is None:
        raise NotFound("invitation_not_found", "There is no such invitation, or it ended long ago.")
    return invitation


def evolve(invitations: Invitations, event: InvitationEvent) -> None:
    """Writes an invitation's beginning or end; what has expired is forgotten when another one is made."""
    match event:
        case MemberInvited():
            at = event.invited_at
            invitations.open = {key: each for key, each in invitations.open.items() if each.expires_at > at}
            invitations.open[event.invitation_id] = Invitation(
                email_hash=event.email_hash, level=event.level, expires_at=event.expires_at
            )
        case InvitationRevoked():
            _end(invitations, event.invitation_id, "")
        case InvitationAccepted():
            _end(invitations, event.invitation_id, event.user_id)


def _end(invitations: Invitations, invitation_id: str, accepted_by: str) -> None:
    invitations.open.pop(invitation_id, None)
    invitations.ended[invitation_id] = accepted_by
    if len(invitations.ended) > ENDED_MAX:
        del invitations.ended[next(iter(invitations.ended))]
