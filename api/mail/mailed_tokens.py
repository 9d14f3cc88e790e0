"""Tokens in mails: made, recognised, and sent. What is stored of one is an HMAC; who has the text has read the mail.

A token is `{the user's id, 32 hexadecimal digits}_{256 random bits in base62}`: it names the user whose stream decides.
"""

import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from api.errors import ApiError, declare
from api.identity.api_key_format import SECRET_BYTES, SECRET_DIGITS, base62
from api.rfc3339 import format_instant
from domain.instant import DAY, HOUR, Instant
from domain.mailed_tokens import MailedKind, MailedToken

if TYPE_CHECKING:
    from api.parts import Services

LIFETIME: Mapping[MailedKind, Instant] = {"password_reset": HOUR, "email_verification": DAY}
TEXT_MAX = 100

_USER_ID = re.compile(r"user_[0-9a-f]{32}", re.ASCII)
_TEXT = re.compile(rf"([0-9a-f]{{32}})_[0-9A-Za-z]{{{SECRET_DIGITS}}}", re.ASCII)
_log = structlog.get_logger()

declare(
    "invalid_mailed_token",
    "invalid",
    "The token is wrong, was used already, or has expired.",
    "Use the token of the newest mail, or ask for another mail.",
)
declare(
    "too_many_mails",
    "too_many",
    "Enough mails of this kind are on their way.",
    "Use the newest of them, or ask again once they have expired.",
)


class NewToken(Struct, frozen=True, kw_only=True):
    """A token as it is mailed, and what may be stored of it."""

    text: str
    stored: MailedToken


def new_token(services: "Services", user_id: str, kind: MailedKind) -> NewToken:
    """A token for the user, good from now on once it is stored."""
    if _USER_ID.fullmatch(user_id) is None:
        raise ValueError("the id of a user is user_ and 32 hexadecimal digits")
    secret = base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), SECRET_DIGITS)
    text = f"{user_id.removeprefix('user_')}_{secret}"
    expires_at = services.clock() + LIFETIME[kind]
    return NewToken(
        text=text,
        stored=MailedToken(kind=kind, token_hash=token_hash(services, kind, text), expires_at=expires_at),
    )


def user_of(text: str) -> str:
    """The user whom a token is of, if it is one. 400 `invalid_mailed_token` for anything else."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ApiError("invalid_mailed_token", param="token")
    return f"user_{match[1]}"


def token_hash(services: "Services", kind: MailedKind, text: str) -> str:
    """What the token is looked up by: another for each kind, so that none serves for something else."""
    return services.lookup.digest(f"mailed {kind}", text.encode())


def can_mail(services: "Services") -> bool:
    """Whether there is a mailer."""
    try:
        services.mailer.check()
    except ApiError:
        return False
    return True


async def mail_token(services: "Services", token: NewToken, address: str) -> None:
    """Hands the token to the mailer. Where that is full nothing is mailed: the user asks for another mail."""
    data = {"token": token.text, "expires_at": format_instant(token.stored.expires_at)}
    try:
        await services.mailer.send(token.stored.kind, address, data)
    except ApiError as error:
        _log.warning("token_not_mailed", kind=token.stored.kind, code=error.code)
