"""The user behind the caller: profile and password."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from api.account_plan import plan_of
from api.call import Call
from api.command_log.commands import Draft, data_of
from api.errors import ApiError, declare
from api.identity.passwords import check_password
from api.parts import Services
from api.profile import (
    EMAIL_PLACE,
    IDENTITY_PLACE,
    NAME_PLACE,
    PASSWORD_PLACE,
    DisplayName,
    NewPassword,
    check_display_name,
    open_text,
    seal_text,
)
from api.rfc3339 import format_instant
from api.route import Route, needs
from api.routes.auth import Session, session
from domain.user import ChangePassword, Role, UpdateProfile
from eventstore.records import Outcome
from projections.users import UserView, get_user

declare("user_not_found", "not_found", "There is no such user.", "The user was erased; register again.")
declare(
    "wrong_password",
    "forbidden",
    "The current password is wrong.",
    "Send the password that you log in with.",
)
declare(
    "login_required",
    "forbidden",
    "This needs the user's own login token; an API key cannot do it.",
    "Log in with POST /auth/login and use its token.",
)

declare(
    "no_password",
    "conflict",
    "The user signs in with an identity provider and has no password.",
    "Change the password at the identity provider.",
)

declare(
    "password_changed",
    "conflict",
    "The password was changed meanwhile; log in again.",
    "Log in with the new password.",
)


class ExternalIdentity(Struct, frozen=True, kw_only=True):
    """Who a user is at its identity provider, as its tokens say."""

    issuer: str
    subject: str
    claims: dict[str, Any] | None = None
    """What else the token says that asks for the user; null in every other answer, and for API keys."""


_identities = msgspec.json.Decoder(ExternalIdentity)


class User(Struct, frozen=True, kw_only=True):
    """A user as it sees itself."""

    id: str
    account_id: str
    email: str | None
    """Null for a user of an identity provider."""
    email_verified: bool
    display_name: str | None
    role: Role
    identity: ExternalIdentity | None = None
    """At the identity provider, where the user signs in there."""
    plan: str
    created_at: str


class ProfileChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; null removes the name."""

    display_name: DisplayName | UnsetType | None = UNSET


class PasswordChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password as it is, and as it shall be."""

    current_password: str
    new_password: NewPassword


async def show_me(call: Call[None, None]) -> User:
    """The user who is logged in, or who made the key."""
    shown = await user_shown(call.services, await own_user(call.services, call.caller.user_id))
    if shown.identity is None or call.caller.kind != "user":
        return shown
    return replace(shown, identity=replace(shown.identity, claims=call.caller.claims))


async def change_me(call: Call[ProfileChange, None]) -> User:
    """Changes the display name."""
    services, user_id, name = call.services, call.caller.user_id, call.body.display_name
    user = await own_user(services, user_id)
    if name is UNSET and call.idempotency_key is None:
        return await user_shown(services, user)
    sealed: str | UnsetType | None = UNSET
    if name is not UNSET:
        check_display_name(name)
        sealed = None if name is None else await seal_text(services.sealer, user_id, NAME_PLACE, name)
    outcome = await call.draft(f"user:{user_id}").submit(UpdateProfile(display_name_sealed=sealed))
    # As it was after this change and not a later one: a repeat under its Idempotency-Key answers the same.
    data = data_of(outcome)
    then = replace(user, display_name_sealed=data["display_name_sealed"], role=data["role"])
    return await user_shown(services, then)


async def change_password(call: Call[PasswordChange, None]) -> Session:
    """Sets a new password, ends every older token, and answers a fresh one."""
    services, user_id = call.services, call.caller.user_id
    if call.caller.kind != "user":
        raise ApiError("login_required")
    check_password(call.body.new_password, param="new_password")
    draft = call.draft(f"user:{user_id}")
    outcome = await _changed_before(call, draft) or await _change(call, draft)
    # Other processes see the stamp within a second; this one forgets the older tokens now.
    services.identities.cache.stamped((user_id,))
    return session(user_id, services.tokens.issue(user_id, data_of(outcome)["ver"], outcome.at))


async def _changed_before(call: Call[PasswordChange, None], draft: Draft) -> Outcome | None:
    """The outcome of the same request, sent before: its current password is no longer the current one."""
    if call.idempotency_key is None:
        return None
    services = call.services
    shard = services.commands.shard(f"user:{call.caller.user_id}")
    known = (await services.store.read_outcomes([(shard, draft.command_id)])).get(draft.command_id)
    if known is None or known.status != "applied":
        return None
    if known.fingerprint != call.fingerprint:
        raise ApiError("idempotency_key_reused")
    return known


async def _change(call: Call[PasswordChange, None], draft: Draft) -> Outcome:
    services, user_id = call.services, call.caller.user_id
    user = await own_user(services, user_id)
    await check_current_password(call, user, call.body.current_password, param="current_password")
    hashed = await services.passwords.hash(call.body.new_password)
    sealed = await seal_text(services.sealer, user_id, PASSWORD_PLACE, hashed)
    return await draft.submit(ChangePassword(password_sealed=sealed, ver=user.ver))


async def check_current_password(call: Call[Any, Any], user: UserView, password: str, *, param: str) -> None:
    """403 `wrong_password`, 429 `too_many_attempts`: throttled like a login, for a token may have been stolen.

    409 `no_password` for a user of an identity provider.
    """
    services = call.services
    if user.password_sealed is None:
        raise ApiError("no_password")
    attempt = await services.login_throttle.enter(f"change {user.id}", call.caller.address)
    try:
        stored = await open_text(services.sealer, user.id, PASSWORD_PLACE, user.password_sealed)
        verdict = await services.passwords.verify(password, stored)
    except Exception:
        await services.login_throttle.withdrawn(attempt)
        raise
    if not verdict.ok:
        raise ApiError("wrong_password", param=param)
    await services.login_throttle.succeeded(attempt)


async def own_user(services: Services, user_id: str) -> UserView:
    """The user's document. 404 `user_not_found` for one who was erased a moment ago."""
    user = await get_user(services.documents, services.shards, user_id)
    if user is None:
        raise ApiError("user_not_found")
    return user


async def user_shown(services: Services, user: UserView) -> User:
    """The user with what is sealed opened. `Erased` when it was."""
    name, email, identity = user.display_name_sealed, user.email_sealed, user.identity_sealed
    return User(
        id=user.id,
        account_id=user.id,
        email=None if email is None else await open_text(services.sealer, user.id, EMAIL_PLACE, email),
        email_verified=user.email_verified,
        display_name=None if name is None else await open_text(services.sealer, user.id, NAME_PLACE, name),
        role=user.role,
        identity=None if identity is None else await _identity(services, user.id, identity),
        plan=(await plan_of(services, user.id)).id,
        created_at=format_instant(user.registered_at),
    )


async def _identity(services: Services, user_id: str, sealed: str) -> ExternalIdentity:
    return _identities.decode(await open_text(services.sealer, user_id, IDENTITY_PLACE, sealed))


ROUTES = (
    Route(
        method="GET",
        path="/users/me",
        handler=show_me,
        summary="Show the caller's user",
        tag="users",
        access=needs("users:read", while_suspended=True, of_person=True),
        answers={200: User},
        errors=("user_not_found",),
    ),
    Route(
        method="PATCH",
        path="/users/me",
        handler=change_me,
        summary="Change the caller's profile",
        tag="users",
        access=needs("users:write", of_person=True),
        body=ProfileChange,
        answers={200: User},
        errors=("invalid_display_name", "user_not_found"),
        write=True,
        example={"display_name": "Ada King"},
    ),
    Route(
        method="POST",
        path="/users/me/password",
        handler=change_password,
        summary="Change the password",
        description="Ends every token issued before, also the one that this request was sent with. API keys go on.",
        tag="users",
        access=needs("users:write"),
        body=PasswordChange,
        answers={200: Session},
        errors=(
            "invalid_password",
            "wrong_password",
            "login_required",
            "too_many_attempts",
            "busy",
            "user_not_found",
            "password_changed",
            "no_password",
        ),
        write=True,
        example={"current_password": "correct horse battery staple", "new_password": "a longer and better one"},
    ),
)
