"""Invitations into an organization, as one part of it: by email address (sealed), for one use, until they expire.

An address is sealed under a data key of its invitation, which goes when the invitation ends, however that is, or when
whoever has the address is erased.
"""

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct, field

from domain.erasure import membership_lock
from domain.errors import Conflict, Full, Invalid, NotFound
from domain.instant import DAY, MINUTE, Instant
from domain.member import Level, MemberAdded, Members, require_admin, require_seat
from domain.message import Claim, Command, Erasure, Event

INVITATIONS_MAX = 200
"""Invitations that are open at once."""
ENDED_MAX = 1_000
"""Invitations that were used or revoked and are still told apart from unknown ones."""
LASTS_MIN: Instant = MINUTE
LASTS_MAX: Instant = 30 * DAY
EXPIRED = "expired"
"""How an invitation ended that nobody used; of others it is a user's id, or nothing."""


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
    own_key: bool = False
    """See `MemberInvited`."""


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


class ForgetInvited(Command, frozen=True, kw_only=True, tag="org.forget_invited"):
    """Somebody with this address is being erased: nobody shall read it any more. The invitations go on."""

    category = "org"
    shed = False
    email_hash: str


class SweepOrganization(Command, frozen=True, kw_only=True, tag="org.sweep"):
    """Wakes an idle organization: what is due happens before any command is decided."""

    category = "org"
    shed = False


class _Closing(Event, frozen=True, kw_only=True):
    """Takes the invited address along."""

    invitation_id: str

    def erasure(self, entity_id: str) -> Erasure:
        """The key of the invitation's address."""
        return Erasure(subjects=(address_subject(entity_id, self.invitation_id),), claims=())


class MemberInvited(Event, frozen=True, kw_only=True, tag="org.member_invited"):
    """An invitation is open until it is accepted, revoked, or `expires_at`."""

    invitation_id: str
    email_hash: str
    email_sealed: str
    level: Level
    invited_by: str
    invited_at: Instant
    expires_at: Instant
    own_key: bool = False
    """The address is sealed for `address_subject`; before there was that, for the organization's account."""


class InvitationRevoked(_Closing, frozen=True, kw_only=True, tag="org.invitation_revoked"):
    """The invitation no longer works."""

    revoked_at: Instant


class InvitationAccepted(_Closing, frozen=True, kw_only=True, tag="org.invitation_accepted"):
    """The invitation is used up; `MemberAdded` follows."""

    user_id: str
    accepted_at: Instant


class InvitationExpired(_Closing, frozen=True, kw_only=True, tag="org.invitation_expired"):
    """Nobody used the invitation in its time."""

    expired_at: Instant


class InvitedForgotten(_Closing, frozen=True, kw_only=True, tag="org.invited_forgotten"):
    """Nobody can read any more whom the invitation was sent to; whoever holds it may still use it."""

    forgotten_at: Instant


def address_subject(org_id: str, invitation_id: str) -> str:
    """Whose data key an invited address is sealed under (`eventstore.erasure` knows it too)."""
    return f"invitation:{org_id}:{invitation_id}"


class Invitation(Struct, kw_only=True, gc=False):
    """An open invitation, as far as decisions need to know it."""

    email_hash: str
    level: Level
    expires_at: Instant
    forgotten: bool = False
    """The address is."""


class Invitations(Struct, kw_only=True):
    """Those that were not ended, by id; and how others ended: `""` for revoked, `EXPIRED`, or the user who accepted."""

    open: dict[str, Invitation] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)


COMMANDS = (InviteMember, RevokeInvitation, AcceptInvitation, ForgetInvited, SweepOrganization)
EVENTS = (MemberInvited, InvitationRevoked, InvitationAccepted, InvitationExpired, InvitedForgotten)
InvitationCommand: TypeAlias = InviteMember | RevokeInvitation | AcceptInvitation | ForgetInvited
InvitationEvent: TypeAlias = (
    MemberInvited | InvitationRevoked | InvitationAccepted | InvitationExpired | InvitedForgotten
)


def decide(
    invitations: Invitations, members: Members, command: InvitationCommand, at: Instant
) -> Sequence[InvitationEvent | MemberAdded]:
    """See each command. Admins invite and revoke; whoever holds an open invitation accepts it, once."""
    if isinstance(command, AcceptInvitation):
        return _accept(invitations, members, command, at)
    if isinstance(command, ForgetInvited):
        return _forget(invitations, command.email_hash, at)
    require_admin(members, command.by)
    if isinstance(command, InviteMember):
        return _invite(invitations, members, command, at)
    if invitations.ended.get(command.invitation_id) in ("", EXPIRED):
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
            own_key=command.own_key,
        )
    ]


def _accept(
    invitations: Invitations, members: Members, command: AcceptInvitation, at: Instant
) -> Sequence[InvitationEvent | MemberAdded]:
    user_id = command.user_id
    if invitations.ended.get(command.invitation_id) == user_id and user_id in members:
        return []
    invitation = _require_open(invitations, command.invitation_id)
    if user_id in members:
        raise Conflict("already_member", "The user is a member already.")
    if not members:  # else there would be members without an admin
        raise Conflict("invitation_closed", "Nobody is left in the organization.")
    require_seat(members, command.members_max)
    return [
        InvitationAccepted(invitation_id=command.invitation_id, user_id=user_id, accepted_at=at),
        MemberAdded(user_id=user_id, level=invitation.level, added_at=at),
    ]


def _require_open(invitations: Invitations, invitation_id: str) -> Invitation:
    """Neither used, revoked nor expired."""
    ended = invitations.ended.get(invitation_id)
    if ended == EXPIRED:
        raise Conflict("invitation_expired", "The invitation has expired; ask for a new one.")
    if ended is not None:
        how = "was accepted before" if ended else "was revoked"
        raise Conflict("invitation_closed", f"The invitation {how}.")
    invitation = invitations.open.get(invitation_id)
    if invitation is None:
        raise NotFound("invitation_not_found", "There is no such invitation, or it ended long ago.")
    return invitation


def _forget(invitations: Invitations, email_hash: str, at: Instant) -> Sequence[InvitedForgotten]:
    return [
        InvitedForgotten(invitation_id=key, forgotten_at=at)
        for key, each in invitations.open.items()
        if each.email_hash == email_hash and not each.forgotten
    ]


def due(invitations: Invitations, at: Instant) -> Sequence[InvitationExpired]:
    """Those whose time is over by `at`."""
    return [
        InvitationExpired(invitation_id=key, expired_at=each.expires_at)
        for key, each in invitations.open.items()
        if each.expires_at <= at
    ]


def next_due(invitations: Invitations) -> Instant | None:
    """When the next one expires."""
    return min((each.expires_at for each in invitations.open.values()), default=None)


def evolve(invitations: Invitations, event: InvitationEvent) -> None:
    """Writes an invitation's beginning or end, or that its address is gone."""
    match event:
        case MemberInvited():
            at = event.invited_at  # in logs from before expiry was an event
            invitations.open = {key: each for key, each in invitations.open.items() if each.expires_at > at}
            invitations.open[event.invitation_id] = Invitation(
                email_hash=event.email_hash, level=event.level, expires_at=event.expires_at
            )
        case InvitationRevoked():
            _end(invitations, event.invitation_id, "")
        case InvitationAccepted():
            _end(invitations, event.invitation_id, event.user_id)
        case InvitationExpired():
            _end(invitations, event.invitation_id, EXPIRED)
        case InvitedForgotten():
            invitations.open[event.invitation_id].forgotten = True


def _end(invitations: Invitations, invitation_id: str, accepted_by: str) -> None:
    invitations.open.pop(invitation_id, None)
    invitations.ended[invitation_id] = accepted_by
    if len(invitations.ended) > ENDED_MAX:
        del invitations.ended[next(iter(invitations.ended))]
