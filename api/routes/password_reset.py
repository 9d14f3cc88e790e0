"""A forgotten password: a token by mail, and a new password for it."""

from functools import partial
from typing import Annotated, Literal

import structlog
from msgspec import Meta, Struct

from api.call import Call
from api.command_log.commands import Accepted, Draft, data_of
from api.errors import ApiError
from api.identity.passwords import check_password
from api.mail.mailed_tokens import TEXT_MAX, mail_token, new_token, token_hash, user_of
from api.profile import EMAIL_PLACE, PASSWORD_PLACE, NewPassword, open_text, seal_text
from api.route import PUBLIC, Route
from api.routes.auth import Session, session
from api.sealing import Erased
from domain.mailed_tokens import MailToken, ResetPassword
from eventstore.records import Outcome
from projections.emails import find_user_id
from projections.users import get_user

MailedText = Annotated[str, Meta(max_length=TEXT_MAX, description="The token from the mail.")]

_log = structlog.get_logger()


class Forgotten(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose password is forgotten."""

    email: Annotated[str, Meta(max_length=1_000)]


class MailOnItsWay(Struct, frozen=True, kw_only=True):
    """Taken. Whether there is such a user, and a mail for them, is not told."""

    status: Literal["accepted"] = "accepted"


class Reset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password, for the token that was mailed."""

    token: MailedText
    password: NewPassword


async def forgot(call: Call[Forgotten, None]) -> MailOnItsWay:
    """Mails a token to the user of the address, if there is one; answers before anybody is looked up."""
    services = call.services
    services.mailer.check()
    email_hash = services.lookup.email(call.body.email)
    # Never taken back: it is the asking that is bounded here, and every asking counts.
    await services.login_throttle.enter(f"forgot {email_hash}", call.caller.address)
    services.errands.add("password_forgotten", partial(_mail, call, email_hash))
    return MailOnItsWay()


async def _mail(call: Call[Forgotten, None], email_hash: str) -> None:
    services = call.services
    user_id = await find_user_id(services.documents, email_hash)
    user = None if user_id is None else await get_user(services.documents, services.shards, user_id)
    if user is None or user.email_sealed is None:
        return
    token = new_token(services, user.id, "password_reset")
    try:
        address = await open_text(services.sealer, user.id, EMAIL_PLACE, user.email_sealed)
        draft = call.draft(f"user:{user.id}", account=user.id, principal=email_hash)
        await draft.submit(MailToken(token=token.stored))
    except (ApiError, Accepted, Erased) as error:
        _log.info("password_reset_not_mailed", user_id=user.id, reason=str(error))
        return
    await mail_token(services, token, address)


async def reset(call: Call[Reset, None]) -> Session:
    """Sets the password, ends every login token, and answers a fresh one; the token works once."""
    services, text = call.services, call.body.token
    check_password(call.body.password)
    user_id = user_of(text)
    hashed = token_hash(services, "password_reset", text)
    draft = call.draft(f"user:{user_id}", account=user_id, principal=hashed)
    outcome = await draft.known() if call.idempotency_key is not None else None
    if outcome is None:
        outcome = await _reset(call, draft, user_id, hashed)
    elif outcome.status != "applied" or outcome.fingerprint != draft.fingerprint:
        draft.refuse(outcome, draft.public_id(outcome.shard, None))
    # Other processes see the stamp within a second; this one forgets the older tokens now.
    services.identities.cache.stamped((user_id,))
    return session(user_id, services.tokens.issue(user_id, data_of(outcome)["ver"], outcome.at))


async def _reset(call: Call[Reset, None], draft: Draft, user_id: str, hashed: str) -> Outcome:
    """Throttled, because each try costs a derivation; by itself, so that a guessed login holds up no reset."""
    services = call.services
    if await get_user(services.documents, services.shards, user_id) is None:
        raise ApiError("invalid_mailed_token", param="token")
    attempt = await services.login_throttle.enter(f"reset {user_id}", call.caller.address)
    try:
        password = await services.passwords.hash(call.body.password)
        sealed = await seal_text(services.sealer, user_id, PASSWORD_PLACE, password)
    except Erased:
        raise ApiError("invalid_mailed_token", param="token") from None
    except Exception:
        await services.login_throttle.withdrawn(attempt)
        raise
    outcome = await draft.submit(ResetPassword(token_hash=hashed, password_sealed=sealed))
    await services.login_throttle.succeeded(attempt)
    return outcome


ROUTES = (
    Route(
        method="POST",
        path="/auth/password/forgot",
        handler=forgot,
        summary="Ask for a password reset",
        description=(
            "Mails a token for `POST /auth/password/reset` that lasts an hour. The answer is the same, and as quick, "
            "for an address that nobody has."
        ),
        tag="auth",
        access=PUBLIC,
        body=Forgotten,
        answers={202: MailOnItsWay},
        errors=("too_many_attempts", "mailer_not_configured", "busy"),
        example={"email": "ada@example.com"},
    ),
    Route(
        method="POST",
        path="/auth/password/reset",
        handler=reset,
        summary="Reset the password",
        description="Ends every login token issued before, and every other token for a reset. API keys go on.",
        tag="auth",
        access=PUBLIC,
        body=Reset,
        answers={200: Session},
        errors=("invalid_password", "invalid_mailed_token", "too_many_attempts", "busy", "user_not_found"),
        write=True,
        example={"token": "0" * 32 + "_" + "0" * 43, "password": "a longer and better one"},
    ),
)
