"""Members of an organization and their levels, as one part of it: the last admin always stays."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from domain.erasure import membership_lock
from domain.errors import Conflict, Forbidden, Full, NotFound
from domain.instant import Instant
from domain.message import Claim, Command, Event

Level: TypeAlias = Literal["read", "write", "admin"]
LEVELS: tuple[Level, ...] = ("read", "write", "admin")
"""Each includes those before it."""

MEMBERS_MAX = 1_000
"""Members of one organization, whatever its plan says, so that its state stays bounded."""


class ChangeMemberLevel(Command, frozen=True, kw_only=True, tag="org.change_level"):
    """Sets a member's level."""

    category = "org"
    by: str
    user_id: str
    level: Level


class RemoveMember(Command, frozen=True, kw_only=True, tag="org.remove_member"):
    """Ends a membership; a member who removes itself leaves."""

    category = "org"
    by: str
    user_id: str


class LeaveForGood(Command, frozen=True, kw_only=True, tag="org.leave_for_good"):
    """Ends the membership of a user who is about to be erased; the only member may go too, and leaves nobody."""

    category = "org"
    user_id: str


class GrantLevel(Command, frozen=True, kw_only=True, tag="org.grant_level"):
    """An operator's: makes a user a member, or gives a member a level, for an organization that has nobody left to."""

    category = "org"
    user_id: str
    level: Level

    def claims(self) -> tuple[Claim, ...]:
        """Not for somebody who is being erased."""
        return (membership_lock(self.user_id),)


class MemberAdded(Event, frozen=True, kw_only=True, tag="org.member_added"):
    """A user is a member from now on."""

    user_id: str
    level: Level
    added_at: Instant


class MemberLevelChanged(Event, frozen=True, kw_only=True, tag="org.level_changed"):
    """The level as it is now."""

    user_id: str
    level: Level


class MemberRemoved(Event, frozen=True, kw_only=True, tag="org.member_removed"):
    """The user is a member no longer; `left` if it was its own wish."""

    user_id: str
    left: bool
    removed_at: Instant


Members: TypeAlias = dict[str, Level]
"""The state: levels by user id."""

COMMANDS = (ChangeMemberLevel, RemoveMember, LeaveForGood, GrantLevel)
EVENTS = (MemberAdded, MemberLevelChanged, MemberRemoved)
MemberCommand: TypeAlias = ChangeMemberLevel | RemoveMember | LeaveForGood | GrantLevel
MemberEvent: TypeAlias = MemberAdded | MemberLevelChanged | MemberRemoved


def at_least(level: Level, needed: Level) -> bool:
    """True if `level` includes `needed`."""
    return LEVELS.index(level) >= LEVELS.index(needed)


def no_organization() -> NotFound:
    """The refusal that does not tell strangers whether there is one."""
    return NotFound("organization_not_found", "There is no such organization.")


def require_admin(members: Members, user_id: str) -> None:
    """`NotFound` for who is no member, `Forbidden` below admin."""
    level = members.get(user_id)
    if level is None:
        raise no_organization()
    if level != "admin":
        raise Forbidden("missing_level", "This needs the level admin in the organization.", required_level="admin")


def require_seat(members: Members, members_max: int | None) -> None:
    """`Full` when no more members fit into the plan, or into any organization."""
    if members_max is not None and len(members) >= members_max:
        raise Full("seats_used_up", f"The plan has {members_max} seats, and all are taken.", limit=members_max)
    if len(members) >= MEMBERS_MAX:
        raise Full("too_many_members", "The organization has too many members.", limit=MEMBERS_MAX)


def decide(members: Members, command: MemberCommand, at: Instant) -> Sequence[MemberEvent]:
    """See each command. Admins change others, anybody may leave; `Conflict` where no admin would be left."""
    if isinstance(command, LeaveForGood):
        return _leave_for_good(members, command.user_id, at)
    if isinstance(command, GrantLevel):
        return _grant(members, command, at)
    leaves = isinstance(command, RemoveMember) and command.by == command.user_id
    if not leaves:
        require_admin(members, command.by)
    level = members.get(command.user_id)
    if level is None:
        raise no_organization() if leaves else NotFound("member_not_found", "The organization has no such member.")
    if isinstance(command, ChangeMemberLevel):
        if level == command.level:
            return []
        _require_another_admin(members, command.user_id)
        return [MemberLevelChanged(user_id=command.user_id, level=command.level)]
    _require_another_admin(members, command.user_id)
    return [MemberRemoved(user_id=command.user_id, left=leaves, removed_at=at)]


def _leave_for_good(members: Members, user_id: str, at: Instant) -> Sequence[MemberEvent]:
    if user_id not in members:
        return []
    if len(members) > 1:
        _require_another_admin(members, user_id)
    return [MemberRemoved(user_id=user_id, left=True, removed_at=at)]


def _grant(members: Members, command: GrantLevel, at: Instant) -> Sequence[MemberEvent]:
    level = members.get(command.user_id)
    if level == command.level:
        return []
    if level is None:
        require_seat(members, None)
        return [MemberAdded(user_id=command.user_id, level=command.level, added_at=at)]
    _require_another_admin(members, command.user_id)
    return [MemberLevelChanged(user_id=command.user_id, level=command.level)]


def _require_another_admin(members: Members, user_id: str) -> None:
    """Nothing to fear from a change of somebody who is no admin."""
    if members[user_id] != "admin":
        return
    if not any(level == "admin" for other, level in members.items() if other != user_id):
        raise Conflict("last_admin", "An organization keeps at least one admin; make somebody else one first.")


def evolve(members: Members, event: MemberEvent) -> None:
    """Writes a membership's beginning, change or end."""
    match event:
        case MemberAdded() | MemberLevelChanged():
            members[event.user_id] = event.level
        case MemberRemoved():
            del members[event.user_id]
