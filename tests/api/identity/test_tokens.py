"""Login tokens: ours verify until they end, nothing else does."""

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.identity.tokens import LIFETIME, TokenRefused, Tokens
from domain.instant import SECOND

OLD, NEW = {"old": b"o" * 64}, {"new": b"n" * 32}
AT = 1_800_000_000 * SECOND


def forged(claims: dict[str, Any], *, header: dict[str, Any] | None = None, secret: bytes = b"o" * 64) -> str:
    """A token with any claims."""
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "old"} | (header or {}))


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims but for what is changed; `None` leaves one out."""
    good = {"iss": "formstate", "sub": "user_1", "ver": 1, "iat": AT // SECOND, "exp": (AT + LIFETIME) // SECOND}
    return {name: value for name, value in (good | changed).items() if value is not None}


@given(st.text(st.characters(codec="ascii"), min_size=1), st.integers(1, 2**31), st.integers(0, 2**45))
def test_round_trip(user_id: str, ver: int, at: int) -> None:
    """A token says who and which version, and ends a day after it was made."""
    tokens = Tokens(OLD)
    token = tokens.issue(user_id, ver, at)
    for _ in range(2):  # from the library, then from the cache
        said = tokens.verify(token.text, token.expires_at - 1)
        assert (said.user_id, said.ver, said.expires_at) == (user_id, ver, token.expires_at)
        assert at - SECOND < said.issued_at <= at
    with pytest.raises(TokenRefused) as refused:
        tokens.verify(token.text, token.expires_at)
    assert refused.value.expired


def test_same_instant_same_token() -> None:
    """A token made again from the same outcome is the same token."""
    assert Tokens(OLD).issue("user_1", 1, AT) == Tokens(OLD).issue("user_1", 1, AT)


@given(st.data())
def test_one_text_for_one_token(data: st.DataObject) -> None:
    """Padded, or spelled another way that decodes alike (RFC 4648, 3.5), it is none."""
    tokens = Tokens(OLD)
    parts = tokens.issue("user_1", 1, AT).text.split(".")
    number = data.draw(st.integers(0, 2))
    last = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    other = data.draw(st.sampled_from([parts[number] + "=", parts[number] + "==", parts[number][:-1] + last]))
    if other != parts[number]:
        parts[number] = other
        with pytest.raises(TokenRefused):
            tokens.verify(".".join(parts), AT)


def test_rotation() -> None:
    """The first secret signs, all verify; a secret that was taken out ends its tokens."""
    before, after = Tokens(OLD), Tokens(NEW | OLD)
    token = before.issue("user_1", 1, AT).text
    assert after.verify(token, AT).user_id == "user_1"
    assert jwt.get_unverified_header(after.issue("user_1", 1, AT).text)["kid"] == "new"
    with pytest.raises(TokenRefused):
        Tokens(NEW).verify(token, AT)


@pytest.mark.parametrize(
    "text",
    [
        forged(claims(), secret=b"x" * 32),
        forged(claims(iss="somebody")),
        forged(claims(iss=None)),
        forged(claims(sub=None)),
        forged(claims(ver=None)),
        forged(claims(ver="1")),
        forged(claims(ver=True)),
        forged(claims(exp=None)),
        forged(claims(iat=None)),
        forged(claims(exp=1.5e300)),
        forged(claims(iat=AT // SECOND + 120)),
        forged(claims(), header={"kid": "other"}),
        jwt.encode(claims(), b"o" * 64, algorithm="HS384", headers={"kid": "old"}),
        "",
        "a.b.c",
        "." * 3,
        "é" * 10,
        "eyJ" + "a" * 5_000,
    ],
)
def test_refused(text: str) -> None:
    """Forged, foreign, incomplete and malformed tokens are refused with the one error."""
    with pytest.raises(TokenRefused):
        Tokens(OLD).verify(text, AT)


def test_none_is_no_algorithm() -> None:
    """A token that says it needs no signature is refused."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    for name in ("none", "None", "RS256"):
        text = f"{part({'alg': name, 'typ': 'JWT', 'kid': 'old'})}.{part(claims())}."
        with pytest.raises(TokenRefused):
            Tokens(OLD).verify(text, AT)


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    """No text makes another error than the one that is expected."""
    with pytest.raises(TokenRefused):
        Tokens(OLD).verify(text, AT)


def test_verified_tokens_are_bounded() -> None:
    """However many tokens are verified, no more than the bound is remembered."""
    tokens = Tokens(OLD, verified_max=3)
    for number in range(10):
        tokens.verify(tokens.issue(f"user_{number}", 1, AT).text, AT)
    assert len(tokens._verified) == 3


@pytest.mark.parametrize("secrets", [{}, {"short": b"x" * 31}])
def test_short_secrets_are_refused(secrets: dict[str, bytes]) -> None:
    """A secret shorter than the hash is refused at start."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(secrets)
