"""Registering and logging in with a password."""

import structlog
from msgspec import Struct, structs

from api.call import Call
from api.command_log.commands import Accepted, data_of
from api.errors import ApiError, declare
from api.identity.passwords import check_password
from api.identity.tokens import LoginToken
from api.mail.mailed_tokens import can_mail, mail_token, new_token
from api.parts import Services
from api.profile import (
    EMAIL_PLACE,
    NAME_PLACE,
    PASSWORD_PLACE,
    DisplayName,
    Email,
    NewPassword,
    check_display_name,
    check_email,
    open_text,
    seal_text,
)
from api.rfc3339 import format_instant
from api.route import PUBLIC, Route
from api.sealing import Erased
from domain.user import RegisterUser, RehashPassword
from projections.emails import find_user_id
from projections.users import UserView, get_user

REHASH_WAIT_S = 2.0

_log = structlog.get_logger()

declare(
    "email_taken",
    "conflict",
    "There is a user with this email address; log in instead.",
    "Log in with POST /auth/login, or register another address.",
)
declare(
    "invalid_credentials",
    "unauthenticated",
    "Email address or password is wrong.",
    "Check both; the answer does not tell which of them is wrong.",
)


class Registration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new user."""

    email: Email
    password: NewPassword
    display_name: DisplayName | None = None


class Login(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whoever logs in."""

    email: str
    password: str


class Session(Struct, frozen=True, kw_only=True):
    """A user, and a token for `Authorization: Bearer`."""

    user_id: str
    account_id: str
    token: str
    expires_at: str


def session(user_id: str, token: LoginToken) -> Session:
    """The answer that carries a login token. A user's account has the user's id."""
    return Session(user_id=user_id, account_id=user_id, token=token.text, expires_at=format_instant(token.expires_at))


async def register(call: Call[Registration, None]) -> Session:
    """Makes a user; a repeat under one `Idempotency-Key` answers the same user and the same token."""
    body, services = call.body, call.services
    check_email(body.email)
    check_password(body.password)
    check_display_name(body.display_name)
    email_hash = services.lookup.email(body.email)
    draft = call.draft(principal=email_hash)
    user_id = draft.new_id("user")
    # A filter only, so that taken addresses cost no hashing: the claim decides. A repeat finds its own user here.
    if await find_user_id(services.documents, email_hash) not in {None, user_id}:
        raise ApiError("email_taken")
    # Whoever is not mailed can ask for it when logged in. Erased and registered over and over, a user would fill
    # the mailbox of somebody else.
    mailed = can_mail(services) and await services.mail_pace.admits(f"register {email_hash}")
    token = new_token(services, user_id, "email_verification") if mailed else None
    command = await _registration(services, user_id, email_hash, body)
    if token is not None:
        command = structs.replace(command, verification=token.stored)
    outcome = await draft.submit(command, stream=f"user:{user_id}")
    if token is not None and outcome.attempt == draft.attempt:  # else another attempt's token is the one in the mail
        await mail_token(services, token, body.email)
    return session(user_id, services.tokens.issue(user_id, data_of(outcome)["ver"], outcome.at))


async def _registration(services: Services, user_id: str, email_hash: str, body: Registration) -> RegisterUser:
    hashed = await services.passwords.hash(body.password)
    name = body.display_name
    return RegisterUser(
        user_id=user_id,
        email_hash=email_hash,
        email_sealed=await seal_text(services.sealer, user_id, EMAIL_PLACE, body.email),
        display_name_sealed=None if name is None else await seal_text(services.sealer, user_id, NAME_PLACE, name),
        password_sealed=await seal_text(services.sealer, user_id, PASSWORD_PLACE, hashed),
    )


async def log_in(call: Call[Login, None]) -> Session:
    """A token for the right password; an unknown address costs the same derivation as a wrong password."""
    services = call.services
    email_hash = services.lookup.email(call.body.email)
    attempt = await services.login_throttle.enter(email_hash, call.caller.address)
    try:
        user, stored = await _stored_password(services, email_hash)
        verdict = await services.passwords.verify(call.body.password, stored)
    except Exception:
        await services.login_throttle.withdrawn(attempt)
        raise
    if user is None or not verdict.ok:
        raise ApiError("invalid_credentials", headers={"WWW-Authenticate": "Bearer"})
    await services.login_throttle.succeeded(attempt)
    if verdict.outdated:
        await _rehash(call, user)
    return session(user.id, services.tokens.issue(user.id, user.ver, services.clock()))


async def _stored_password(services: Services, email_hash: str) -> tuple[UserView | None, str | None]:
    """The user of an address and the stored hash; neither for an address that is unknown or was erased."""
    user_id = await find_user_id(services.documents, email_hash)
    user = None if user_id is None else await get_user(services.documents, services.shards, user_id)
    if user is None or user.password_sealed is None:
        return None, None
    try:
        return user, await open_text(services.sealer, user.id, PASSWORD_PLACE, user.password_sealed)
    except Erased:
        return None, None


async def _rehash(call: Call[Login, None], user: UserView) -> None:
    """Stores the password under current parameters. The login succeeds whatever comes of it; the next tries again."""
    services = call.services
    try:
        hashed = await services.passwords.hash(call.body.password)
        sealed = await seal_text(services.sealer, user.id, PASSWORD_PLACE, hashed)
        draft = call.draft(f"user:{user.id}", account=user.id, principal=user.id)
        await draft.submit(RehashPassword(password_sealed=sealed, ver=user.ver), wait_s=REHASH_WAIT_S)
    except (ApiError, Accepted) as error:
        _log.info("password_not_rehashed", user_id=user.id, reason=str(error))


ROUTES = (
    Route(
        method="POST",
        path="/auth/register",
        handler=register,
        summary="Register a user",
        description="Makes a user with an account of its own and logs in.",
        tag="auth",
        access=PUBLIC,
        body=Registration,
        answers={201: Session},
        errors=("invalid_email", "invalid_password", "invalid_display_name", "email_taken", "busy"),
        write=True,
        example={
            "email": "ada@example.com",
            "password": "correct horse battery staple",
            "display_name": "Ada Lovelace",
        },
    ),
    Route(
        method="POST",
        path="/auth/login",
        handler=log_in,
        summary="Log in",
        description="Answers a token that lasts 24 hours, or until the password changes. Failures are throttled.",
        tag="auth",
        access=PUBLIC,
        body=Login,
        answers={200: Session},
        errors=("invalid_credentials", "too_many_attempts", "busy"),
        example={"email": "ada@example.com", "password": "correct horse battery staple"},
    ),
)
