"""Key sets: what can verify is taken, everything else is left out, and nothing in them breaks anything."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api.identity.issuers import Algorithm
from api.identity.jwks_document import KEYS_MAX, UnusableKeySet, read_key_set
from devnet.issuer.keys import SigningKey, new_key

KEYS: dict[Algorithm, SigningKey] = {each: new_key(each) for each in ("RS256", "ES256", "EdDSA")}
RSA = KEYS["RS256"]


def document(*keys: Any) -> bytes:
    """A key set of these entries."""
    return json.dumps({"keys": keys}).encode()


def signed(key: SigningKey) -> tuple[bytes, bytes]:
    """What was signed, and the signature."""
    message, _, signature = key.sign({"sub": "ada"}).rpartition(".")
    return message.encode(), base64.urlsafe_b64decode(signature + "==")


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_verifies_what_it_signed(algorithm: Algorithm) -> None:
    """And nothing that it did not sign, in each algorithm; keys of the others are left out."""
    entries = [key.public_jwk() for key in KEYS.values()]
    found = read_key_set(document(*entries), algorithm)
    assert list(found) == [KEYS[algorithm].kid]
    key, (message, signature) = found[KEYS[algorithm].kid], signed(KEYS[algorithm])
    assert key.verifies(message, signature)
    for other in (b"", b"\0" * 64, b"\0" * 256, signature[:-1], signature + b"\0", signed(KEYS["ES256"])[1][:-1]):
        assert not key.verifies(message, other)
    assert not key.verifies(message + b"x", signature)


def test_another_key_under_the_same_name_has_another_id() -> None:
    """What was verified with the first is to be forgotten when the second appears."""
    again = SigningKey(kid=RSA.kid, algorithm="RS256", private=new_key("RS256").private)
    ids = {read_key_set(document(key.public_jwk()), "RS256")[RSA.kid].id for key in (RSA, again, RSA)}
    assert len(ids) == 2


def jwk(scheme: Any, key: Any, **members: Any) -> dict[str, Any]:
    """Any key as an entry."""
    return {**json.loads(scheme.to_jwk(key)), "kid": "k", **members}


WEAK = rsa.generate_private_key(public_exponent=65_537, key_size=1_024).public_key()  # noqa: S505  # to be refused
LEFT_OUT: list[Any] = [
    RSA.public_jwk() | {"kid": None},
    RSA.public_jwk() | {"kid": ""},
    RSA.public_jwk() | {"kid": "k" * 257},
    RSA.public_jwk() | {"kid": 7},
    RSA.public_jwk() | {"use": "enc"},
    RSA.public_jwk() | {"alg": "RS512"},
    RSA.public_jwk() | {"alg": "HS256"},
    RSA.public_jwk() | {"key_ops": ["encrypt"]},
    RSA.public_jwk() | {"key_ops": "verify"},
    RSA.public_jwk() | {"kty": "oct"},
    RSA.public_jwk() | {"n": "AQAB"},
    RSA.public_jwk() | {"n": "!"},
    RSA.public_jwk() | {"n": 1},
    RSA.public_jwk() | {"e": ""},
    RSA.public_jwk() | {"e": None},
    RSA.public_jwk() | {"d": "AQAB"},
    RSA.public_jwk() | {"p": "AQAB"},
    RSA.public_jwk() | {"k": "AQAB"},
    {"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "RS256"},
    jwk(RSAAlgorithm, WEAK),
    jwk(RSAAlgorithm, RSA.private),
    jwk(ECAlgorithm, ec.generate_private_key(ec.SECP384R1()).public_key()),
    jwk(OKPAlgorithm, ed25519.Ed25519PrivateKey.generate().public_key()),
    None,
    7,
    "key",
    [],
    {},
]


@pytest.mark.parametrize("entry", LEFT_OUT, ids=range(len(LEFT_OUT)))
def test_what_cannot_verify_is_left_out(entry: object) -> None:
    """It does not disturb those that can; alone it is no key set."""
    good = RSA.public_jwk() | {"kid": "good"}
    assert list(read_key_set(document(entry, good), "RS256")) == ["good"]
    with pytest.raises(UnusableKeySet):
        read_key_set(document(entry), "RS256")


def test_a_name_that_two_keys_have_names_neither() -> None:
    """Nobody could say which of them is meant."""
    other = new_key("RS256").public_jwk() | {"kid": RSA.kid}
    good = RSA.public_jwk() | {"kid": "good"}
    assert list(read_key_set(document(RSA.public_jwk(), other, good), "RS256")) == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [], "keys": []}',
        b'{"keys": "\xff"}',
        b"[" * 100_000,
        document(*[RSA.public_jwk() | {"kid": str(number)} for number in range(KEYS_MAX + 1)]),
    ],
)
def test_no_key_set(body: bytes) -> None:
    """Garbage, and a set that is too large, is one error."""
    with pytest.raises(UnusableKeySet):
        read_key_set(body, "RS256")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(RSA.public_jwk())), json_values, st.sampled_from(list(KEYS)))
def test_any_member_may_be_anything(member: str, value: Any, algorithm: Algorithm) -> None:
    """Whatever an entry holds, it is taken or left out, and nothing else happens."""
    good = KEYS[algorithm].public_jwk() | {"kid": "good"}
    changed = KEYS[algorithm].public_jwk() | {member: value}
    try:
        found = read_key_set(document(changed, good), algorithm)
    except UnusableKeySet:
        return
    assert {name for name in found if name != "good"} <= {name for name in (changed["kid"],) if isinstance(name, str)}


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """No answer of a provider makes another error than the one that is expected."""
    with pytest.raises(UnusableKeySet):
        read_key_set(body, "RS256")
