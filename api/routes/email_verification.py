"""Proving that one reads what is sent to one's email address."""

from typing import Literal

from msgspec import Struct

from api.call import Call
from api.errors import ApiError, declare
from api.mail.mailed_tokens import mail_token, new_token, token_hash, user_of
from api.profile import EMAIL_PLACE, open_text
from api.route import PUBLIC, Route, needs
from api.routes.password_reset import MailedText, MailOnItsWay
from api.routes.users import own_user
from domain.mailed_tokens import MailToken, VerifyEmail

declare("email_verified", "conflict", "The email address is verified already.", "Nothing is left to do.")
declare(
    "no_email",
    "conflict",
    "The user has no email address here.",
    "Nothing is left to do: a user of an identity provider is known by its identity there.",
)


class Verification(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token that was mailed."""

    token: MailedText


class Verified(Struct, frozen=True, kw_only=True):
    """The user's address is verified."""

    user_id: str
    email_verified: Literal[True] = True


async def verify(call: Call[Verification, None]) -> Verified:
    """Verifies the address; whoever follows the link in the mail twice is told the same twice."""
    services, text = call.services, call.body.token
    user_id = user_of(text)
    hashed = token_hash(services, "email_verification", text)
    draft = call.draft(f"user:{user_id}", account=user_id, principal=hashed)
    try:
        await draft.submit(VerifyEmail(token_hash=hashed))
    except ApiError as error:
        if error.code == "user_not_found":
            raise ApiError("invalid_mailed_token", param="token") from None
        raise
    return Verified(user_id=user_id)


async def send_again(call: Call[None, None]) -> MailOnItsWay:
    """Mails another token to the caller's own address."""
    services = call.services
    services.mailer.check()
    user = await own_user(services, call.caller.user_id)
    if user.email_sealed is None:
        raise ApiError("no_email")
    if user.email_verified:
        raise ApiError("email_verified")
    token = new_token(services, user.id, "email_verification")
    address = await open_text(services.sealer, user.id, EMAIL_PLACE, user.email_sealed)
    await call.draft(f"user:{user.id}").submit(MailToken(token=token.stored))
    await mail_token(services, token, address)
    return MailOnItsWay()


ROUTES = (
    Route(
        method="POST",
        path="/auth/email/verify",
        handler=verify,
        summary="Verify an email address",
        description="By the token that was mailed on registration, or since.",
        tag="auth",
        access=PUBLIC,
        body=Verification,
        answers={200: Verified},
        errors=("invalid_mailed_token",),
        write=True,
        example={"token": "0" * 32 + "_" + "0" * 43},
    ),
    Route(
        method="POST",
        path="/users/me/email/verify",
        handler=send_again,
        summary="Send the email verification again",
        description="The token lasts a day; three can be on their way at a time.",
        tag="users",
        access=needs("users:write"),
        answers={202: MailOnItsWay},
        errors=("user_not_found", "no_email", "email_verified", "too_many_mails", "mailer_not_configured"),
    ),
)
