"""Tokens in the mail: each works once, for a while, for its own purpose; a reset ends what was before."""

import pytest

from domain.erasure import EraseUser
from domain.instant import DAY, HOUR, SECOND, Instant
from domain.mailed_tokens import (
    OPEN_MAX,
    EmailVerified,
    MailedKind,
    MailedToken,
    MailToken,
    ResetPassword,
    TokenMailed,
    VerifyEmail,
)
from domain.user import AGGREGATE, ChangePassword, LinkIdentity, PasswordChanged, RegisterUser, User, UserRegistered
from tests.domain.scenario import T0, Scenario

REGISTER = RegisterUser(
    user_id="user_1", email_hash="h", email_sealed="e", display_name_sealed=None, password_sealed="p"
)


def token(name: str, kind: MailedKind = "password_reset", *, expires_at: Instant = T0 + HOUR) -> MailedToken:
    """A token by the name of its hash."""
    return MailedToken(kind=kind, token_hash=name, expires_at=expires_at)


def mail(name: str, kind: MailedKind = "password_reset", *, expires_at: Instant = T0 + HOUR) -> MailToken:
    """Mails it."""
    return MailToken(token=token(name, kind, expires_at=expires_at))


def reset(name: str) -> ResetPassword:
    """Resets the password by it."""
    return ResetPassword(token_hash=name, password_sealed=f"by {name}")


@pytest.fixture
def user() -> Scenario[User]:
    """A user who has registered."""
    scenario = Scenario(AGGREGATE)
    scenario.when(REGISTER)
    return scenario


def test_a_reset_works_once(user: Scenario[User]) -> None:
    """It ends all login tokens and every other token for a reset, and proves the address."""
    assert user.when(mail("a")) == [TokenMailed(token=token("a"), mailed_at=T0)]
    user.when(mail("b"))
    assert user.when(reset("a")) == [
        PasswordChanged(password_sealed="by a", ver=2),
        EmailVerified(token_hash="a", verified_at=T0),
    ]
    assert [user.refused(reset(name)).code for name in ("a", "b")] == ["invalid_mailed_token"] * 2
    user.when(mail("c"))
    assert user.when(reset("c")) == [PasswordChanged(password_sealed="by c", ver=3)]
    assert user.replayed() == user.state == user.snapshot()


def test_a_token_expires(user: Scenario[User]) -> None:
    """At its instant; nothing else is good either."""
    user.when(mail("a"))
    assert user.refused(reset("b")).code == "invalid_mailed_token"
    assert user.refused(reset("a"), at=T0 + HOUR).code == "invalid_mailed_token"


def test_a_changed_password_spoils_a_reset(user: Scenario[User]) -> None:
    """Whoever remembers the password after all has nothing lying in the mail."""
    user.when(mail("a"))
    user.when(ChangePassword(password_sealed="q", ver=1))
    assert user.refused(reset("a")).code == "invalid_mailed_token"


def test_a_token_serves_its_own_purpose(user: Scenario[User]) -> None:
    """A verification resets nothing, and a reset's token verifies nothing."""
    user.when(mail("v", "email_verification"))
    user.when(mail("r"))
    assert user.refused(reset("v")).code == "invalid_mailed_token"
    assert user.refused(VerifyEmail(token_hash="r")).code == "invalid_mailed_token"


def test_a_verification_is_told_twice_the_same(user: Scenario[User]) -> None:
    """By its own token; another one is no longer good."""
    user.when(mail("v", "email_verification"))
    user.when(mail("w", "email_verification"))
    assert user.when(VerifyEmail(token_hash="v")) == [EmailVerified(token_hash="v", verified_at=T0)]
    assert user.when(VerifyEmail(token_hash="v"), at=T0 + 2 * DAY) == []
    assert user.refused(VerifyEmail(token_hash="w")).code == "invalid_mailed_token"


def test_a_registration_may_mail_a_token() -> None:
    """In the same decision."""
    verification = token("v", "email_verification")
    scenario = Scenario(AGGREGATE)
    events = scenario.when(
        RegisterUser(
            user_id="user_1",
            email_hash="h",
            email_sealed="e",
            display_name_sealed=None,
            password_sealed="p",
            verification=verification,
        )
    )
    assert [type(event) for event in events] == [UserRegistered, TokenMailed]
    assert scenario.when(VerifyEmail(token_hash="v"))


def test_a_mailbox_is_not_flooded(user: Scenario[User]) -> None:
    """So many at a time; room comes with their end. The same token again is no news."""
    for number in range(OPEN_MAX):
        user.when(mail(f"{number}", expires_at=T0 + SECOND))
    assert user.when(mail("0", expires_at=T0 + SECOND)) == []
    assert user.refused(mail("more")).code == "too_many_mails"
    user.when(mail("of another kind", "email_verification"))
    user.when(mail("more"), at=T0 + SECOND)
    assert [each.token_hash for each in user.state.mailed.tokens] == ["of another kind", "more"]


@pytest.mark.parametrize("expires_at", [T0, T0 + DAY + 1])
def test_a_token_ends_within_a_day(user: Scenario[User], expires_at: Instant) -> None:
    """And in the future."""
    assert user.refused(mail("a", expires_at=expires_at)).code == "invalid_expiry"


def test_who_has_no_address_gets_no_mail() -> None:
    """A user of an identity provider; one who was erased, whatever was on its way."""
    scenario = Scenario(AGGREGATE)
    scenario.when(LinkIdentity(issuer_hash="i", identity_sealed="s", role="user", said_at=0))
    assert scenario.refused(mail("a")).code == "no_email"
    erased = Scenario(AGGREGATE)
    erased.when(REGISTER)
    erased.when(mail("a"))
    erased.when(EraseUser())
    assert erased.refused(reset("a")).code == "user_not_found"
    assert erased.state.mailed.tokens == []
