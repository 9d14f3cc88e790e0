"""A user: who they are (sealed), how they sign in (sealed), and which role they have.

A user either registered with an email address and a password, or is an identity of an external provider: then there is
neither, and the role is what the provider's newest token said, capped by the operator.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from msgspec import UNSET, Struct, UnsetType, field

from domain import erasure, mailed_tokens
from domain.aggregate import Aggregate, Answer
from domain.erasure import (
    BeginErasure,
    EraseUser,
    ErasingCommand,
    ErasingEvent,
    ErasureBegun,
    ErasureFinished,
    FinishErasure,
    KeepUser,
    UserErased,
    UserKept,
)
from domain.errors import Conflict, NotFound
from domain.instant import Instant
from domain.mailed_tokens import EmailVerified, Mailed, MailedToken, MailToken, ResetPassword, TokenMailed, VerifyEmail
from domain.message import Claim, Command, Event

Role: TypeAlias = Literal["user", "developer", "admin"]


class RegisterUser(Command, frozen=True, kw_only=True, tag="user.register"):
    """Makes a user. `email_hash` is the HMAC that keeps the address unique; all else personal is sealed.

    `verification` is a token that is mailed to the address, where there is a mailer.
    """

    category = "user"
    user_id: str
    email_hash: str
    email_sealed: str
    display_name_sealed: str | None
    password_sealed: str
    verification: MailedToken | None = None

    def claims(self) -> tuple[Claim, ...]:
        """One user for each email address."""
        return (
            Claim(
                kind="email",
                value=self.email_hash,
                code="email_taken",
                message="There is a user with this email address; log in instead.",
            ),
        )


class UpdateProfile(Command, frozen=True, kw_only=True, tag="user.update_profile"):
    """Changes the display name; `None` removes it, what is left out stays."""

    category = "user"
    display_name_sealed: str | UnsetType | None = UNSET


class ChangePassword(Command, frozen=True, kw_only=True, tag="user.change_password"):
    """Sets a new password and ends every login token issued before. `ver` is the version the caller verified."""

    category = "user"
    password_sealed: str
    ver: int


class RehashPassword(Command, frozen=True, kw_only=True, tag="user.rehash_password"):
    """Stores the same password under current parameters; tokens stay valid."""

    category = "user"
    password_sealed: str
    ver: int


class GrantRole(Command, frozen=True, kw_only=True, tag="user.grant_role"):
    """Sets the role."""

    category = "user"
    role: Role


class LinkIdentity(Command, frozen=True, kw_only=True, tag="user.link_identity"):
    """Makes the user of an external identity at its first sight; later only its role may change. Erased is for good.

    The stream's id is the HMAC of issuer and subject, so whoever sees them first meets the same stream. `said_at` is
    when the token was issued, 0 if it does not say: of two tokens the newer one is believed, and of two of one second
    the one that gives less, so that an old token does not bring back what was taken.
    """

    category = "user"
    issuer_hash: str
    identity_sealed: str
    role: Role
    said_at: Instant
    display_name_sealed: str | None = None
    """The name to begin with; the user may change it."""


class UserRegistered(Event, frozen=True, kw_only=True, tag="user.registered"):
    """The user exists."""

    email_hash: str
    email_sealed: str
    display_name_sealed: str | None
    password_sealed: str
    registered_at: Instant


class ProfileUpdated(Event, frozen=True, kw_only=True, tag="user.profile_updated"):
    """The display name as it is now."""

    display_name_sealed: str | None


class PasswordChanged(Event, frozen=True, kw_only=True, tag="user.password_changed"):
    """A new password; only tokens of version `ver` are good from now on."""

    password_sealed: str
    ver: int


class PasswordRehashed(Event, frozen=True, kw_only=True, tag="user.password_rehashed"):
    """The same password under other parameters."""

    password_sealed: str


class RoleGranted(Event, frozen=True, kw_only=True, tag="user.role_granted"):
    """The role as it is now."""

    role: Role
    said_at: Instant = 0
    """When the external token that says so was issued; 0 where an operator granted it."""


class IdentityLinked(Event, frozen=True, kw_only=True, tag="user.identity_linked"):
    """The user of an external identity exists. `issuer_hash` is the HMAC of the issuer's `iss`."""

    issuer_hash: str
    identity_sealed: str
    role: Role
    said_at: Instant
    linked_at: Instant
    display_name_sealed: str | None = None


class User(Struct, kw_only=True):
    """What decisions need to know of a user."""

    exists: bool = False
    erased: bool = False
    erasing: str | None = None
    """The erasure that was begun and is not finished."""
    email_hash: str = ""
    ver: int = 1
    """Counts passwords; login tokens carry it."""
    role: Role = "user"
    display_name_sealed: str | None = None
    issuer_hash: str | None = None
    """Of an external identity: whose it is."""
    role_said_at: Instant = 0
    """When the token was issued that the role comes from."""
    mailed: Mailed = field(default_factory=Mailed)


COMMANDS = (
    RegisterUser,
    UpdateProfile,
    ChangePassword,
    RehashPassword,
    GrantRole,
    LinkIdentity,
    MailToken,
    ResetPassword,
    VerifyEmail,
    *erasure.COMMANDS,
)
EVENTS = (
    UserRegistered,
    ProfileUpdated,
    PasswordChanged,
    PasswordRehashed,
    RoleGranted,
    IdentityLinked,
    TokenMailed,
    EmailVerified,
    *erasure.EVENTS,
)
UserCommand: TypeAlias = (
    RegisterUser
    | UpdateProfile
    | ChangePassword
    | RehashPassword
    | GrantRole
    | ErasingCommand
    | FinishErasure
    | LinkIdentity
    | MailToken
    | ResetPassword
    | VerifyEmail
)
UserEvent: TypeAlias = (
    UserRegistered
    | ProfileUpdated
    | PasswordChanged
    | PasswordRehashed
    | RoleGranted
    | ErasingEvent
    | IdentityLinked
    | TokenMailed
    | EmailVerified
)
ROLES: tuple[Role, ...] = get_args(Role)
"""The lowest first."""


def lower_role(first: Role, second: Role) -> Role:
    """The one that allows less."""
    return min(first, second, key=ROLES.index)


def decide(user: User, command: UserCommand, at: Instant) -> Sequence[UserEvent]:
    """See each command. `NotFound` for a user who never registered, `Conflict` when the password has moved on."""
    if isinstance(command, RegisterUser | LinkIdentity | FinishErasure):
        return _begin_or_end(user, command, at)
    if not user.exists:
        raise NotFound("user_not_found", "There is no such user.")
    match command:
        case UpdateProfile(display_name_sealed=name):
            if name is UNSET or name == user.display_name_sealed:
                return []
            return [ProfileUpdated(display_name_sealed=name)]
        case ChangePassword():
            _require_ver(user, command.ver)
            return [PasswordChanged(password_sealed=command.password_sealed, ver=user.ver + 1)]
        case RehashPassword():
            _require_ver(user, command.ver)
            return [PasswordRehashed(password_sealed=command.password_sealed)]
        case GrantRole(role=role):
            if user.issuer_hash is not None:
                raise Conflict("role_from_provider", "The role of this user comes from its identity provider.")
            return [] if role == user.role else [RoleGranted(role=role)]
        case BeginErasure() | KeepUser() | EraseUser():
            return erasure.decide(user.erasing, user.email_hash, command, at)
        case MailToken() | VerifyEmail() | ResetPassword():
            return _by_mail(user, command, at)


def _begin_or_end(user: User, command: RegisterUser | LinkIdentity | FinishErasure, at: Instant) -> Sequence[UserEvent]:
    """What is not for a user who is there."""
    match command:
        case RegisterUser():
            return _register(user, command, at)
        case LinkIdentity():
            return _link(user, command, at)
        case FinishErasure():
            return erasure.finish(user.erasing if user.erased else None, command, at)


def _register(user: User, command: RegisterUser, at: Instant) -> Sequence[UserEvent]:
    if user.exists or user.erased:
        raise Conflict("user_exists", "The user is registered already.")
    registered = UserRegistered(
        email_hash=command.email_hash,
        email_sealed=command.email_sealed,
        display_name_sealed=command.display_name_sealed,
        password_sealed=command.password_sealed,
        registered_at=at,
    )
    if command.verification is None:
        return [registered]
    return [registered, *mailed_tokens.mail(user.mailed, command.verification, at)]


def _by_mail(user: User, command: MailToken | VerifyEmail | ResetPassword, at: Instant) -> Sequence[UserEvent]:
    match command:
        case MailToken():
            if not user.email_hash:
                raise Conflict("no_email", "The user has no email address here.")
            return mailed_tokens.mail(user.mailed, command.token, at)
        case VerifyEmail():
            return mailed_tokens.verify(user.mailed, command.token_hash, at)
        case ResetPassword():
            mailed_tokens.require(user.mailed, "password_reset", command.token_hash, at)
            changed = PasswordChanged(password_sealed=command.password_sealed, ver=user.ver + 1)
            return [changed, *mailed_tokens.proven(user.mailed, command.token_hash, at)]


def _link(user: User, command: LinkIdentity, at: Instant) -> Sequence[UserEvent]:
    if user.erased:
        raise Conflict("user_erased", "The user of this identity was erased.")
    if not user.exists:
        return [
            IdentityLinked(
                issuer_hash=command.issuer_hash,
                identity_sealed=command.identity_sealed,
                role=command.role,
                said_at=command.said_at,
                linked_at=at,
                display_name_sealed=command.display_name_sealed,
            )
        ]
    if user.issuer_hash != command.issuer_hash:
        raise Conflict("user_exists", "The user is registered already.")
    newer = command.said_at > user.role_said_at
    lower = command.said_at == user.role_said_at and lower_role(command.role, user.role) != user.role
    if command.role == user.role or not (newer or lower):
        return []
    return [RoleGranted(role=command.role, said_at=command.said_at)]


def _require_ver(user: User, ver: int) -> None:
    if user.issuer_hash is not None:
        raise Conflict("no_password", "The user signs in with an identity provider and has no password.")
    if user.ver != ver:
        raise Conflict("password_changed", "The password was changed meanwhile; log in again.")


def evolve(user: User, event: UserEvent) -> User:
    """Writes down what happened to the user."""
    match event:
        case UserRegistered():
            user.exists = True
            user.email_hash = event.email_hash
            user.display_name_sealed = event.display_name_sealed
        case ProfileUpdated():
            user.display_name_sealed = event.display_name_sealed
        case PasswordChanged():
            user.ver = event.ver
            mailed_tokens.forget(user.mailed, "password_reset")
        case TokenMailed() | EmailVerified():
            mailed_tokens.note(user.mailed, event)
        case PasswordRehashed():
            pass
        case RoleGranted():
            user.role = event.role
            user.role_said_at = event.said_at
        case IdentityLinked():
            user.exists = True
            user.issuer_hash = event.issuer_hash
            user.display_name_sealed = event.display_name_sealed
            user.role = event.role
            user.role_said_at = event.said_at
        case ErasureBegun(erasure_id=erasure_id):
            user.erasing = erasure_id
        case UserKept() | ErasureFinished():
            user.erasing = None
        case UserErased():
            user.exists, user.erased = False, True
            user.email_hash, user.display_name_sealed, user.role = "", None, "user"
            user.issuer_hash, user.mailed = None, Mailed()
    return user


def answer(user: User, command: UserCommand, events: Sequence[Event]) -> Answer:
    """What login tokens need to know; who was registered, and what the profile was changed to."""
    data: Answer = {"ver": user.ver, "role": user.role}
    match command:
        case RegisterUser():
            data["user_id"] = command.user_id
        case UpdateProfile():
            data["display_name_sealed"] = user.display_name_sealed
        case BeginErasure():
            data["erasure_id"] = user.erasing
        case EraseUser():
            data["erased_at"] = next((event.erased_at for event in events if isinstance(event, UserErased)), None)
        case _:
            pass
    return data


AGGREGATE = Aggregate(
    category="user",
    state=User,
    commands=COMMANDS,
    events=EVENTS,
    decide=decide,
    evolve=evolve,
    answer=answer,
    state_version=5,
)
