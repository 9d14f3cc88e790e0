"""Tokens that are mailed to a user: whoever has one has read what was sent to the user's address.

Each works once and for a while. Only its HMAC is here; the token itself is in the mail alone. A few may be open at a
time, so that a second request does not spoil the first one's mail, and no more, so that nobody's mailbox is flooded.
The stream is the user's: `domain.user` decides and evolves with what is here.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct, field

from domain.errors import Invalid, TooMany
from domain.instant import DAY, Instant
from domain.message import Command, Event

MailedKind: TypeAlias = Literal["password_reset", "email_verification"]

OPEN_MAX = 3
"""Tokens of a kind that can be open at a time."""
LENGTH_MAX: Instant = DAY


class MailedToken(Struct, frozen=True, kw_only=True, gc=False):
    """A token in the mail."""

    kind: MailedKind
    token_hash: str
    expires_at: Instant


class MailToken(Command, frozen=True, kw_only=True, tag="user.mail_token"):
    """Makes a token good that is about to be mailed."""

    category = "user"
    token: MailedToken


class ResetPassword(Command, frozen=True, kw_only=True, tag="user.reset_password"):
    """Sets a new password by a mailed token, and ends every login token and every other token for it."""

    category = "user"
    token_hash: str
    password_sealed: str


class VerifyEmail(Command, frozen=True, kw_only=True, tag="user.verify_email"):
    """Proves by a mailed token that the user reads what is sent to the address."""

    category = "user"
    token_hash: str


class TokenMailed(Event, frozen=True, kw_only=True, tag="user.token_mailed"):
    """The token works, once, until it expires."""

    token: MailedToken
    mailed_at: Instant


class EmailVerified(Event, frozen=True, kw_only=True, tag="user.email_verified"):
    """The user reads what is sent to the address; the token that proved it works no more."""

    token_hash: str
    verified_at: Instant


class Mailed(Struct, kw_only=True):
    """What a user's decisions need to know of mailed tokens."""

    tokens: list[MailedToken] = field(default_factory=list)
    verified: bool = False
    verified_by: str = ""
    """The token that proved the address: whoever follows its link twice is told the same twice."""


def mail(mailed: Mailed, token: MailedToken, at: Instant) -> Sequence[TokenMailed]:
    """`TooMany` while as many of the kind are open as can be."""
    if any(each.token_hash == token.token_hash for each in mailed.tokens):
        return []
    if not at < token.expires_at <= at + LENGTH_MAX:
        raise Invalid("invalid_expiry", "A mailed token must end in the future and within a day.")
    if sum(each.kind == token.kind and each.expires_at > at for each in mailed.tokens) >= OPEN_MAX:
        raise TooMany("too_many_mails", "Enough mails of this kind are on their way; use the newest, or wait.")
    return [TokenMailed(token=token, mailed_at=at)]


def verify(mailed: Mailed, token_hash: str, at: Instant) -> Sequence[EmailVerified]:
    """`Invalid` for a token that is not good, or no longer."""
    if mailed.verified and token_hash == mailed.verified_by:
        return []
    require(mailed, "email_verification", token_hash, at)
    return proven(mailed, token_hash, at)


def proven(mailed: Mailed, token_hash: str, at: Instant) -> Sequence[EmailVerified]:
    """Whatever a mailed token was for: its bearer has read the mail."""
    return [] if mailed.verified else [EmailVerified(token_hash=token_hash, verified_at=at)]


def require(mailed: Mailed, kind: MailedKind, token_hash: str, at: Instant) -> None:
    """`Invalid` unless the token is open."""
    for each in mailed.tokens:
        if (each.kind, each.token_hash) == (kind, token_hash) and each.expires_at > at:
            return
    raise Invalid("invalid_mailed_token", "The token is wrong, was used already, or has expired.", param="token")


def note(mailed: Mailed, event: TokenMailed | EmailVerified) -> None:
    """Writes down a token or a proof; what has expired is forgotten. Changes `mailed`."""
    match event:
        case TokenMailed(token=token, mailed_at=at):
            mailed.tokens = [*(each for each in mailed.tokens if each.expires_at > at), token]
        case EmailVerified():
            mailed.verified, mailed.verified_by = True, event.token_hash
            forget(mailed, "email_verification")


def forget(mailed: Mailed, kind: MailedKind) -> None:
    """No token of the kind is good any more. Changes `mailed`."""
    mailed.tokens = [each for each in mailed.tokens if each.kind != kind]
