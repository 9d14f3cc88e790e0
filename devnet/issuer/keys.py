"""Signing keys that rotate: the newest signs, the one before it is still published, older ones are gone."""

import json
import secrets
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from msgspec import Struct

from api.identity.issuers import Algorithm

RSA_BITS = 2_048


class SigningKey(Struct, frozen=True, kw_only=True):
    """A private key with its name."""

    kid: str
    algorithm: Algorithm
    private: Any

    def public_jwk(self) -> dict[str, Any]:
        """What is published of it (RFC 7517)."""
        scheme = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.algorithm]
        members: dict[str, Any] = json.loads(scheme.to_jwk(self.private.public_key()))  # type: ignore[attr-defined]
        members.pop("key_ops", None)
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        """A JWT with these claims, whatever they are; `header` adds to the usual header, or changes it."""
        payload = json.dumps(claims).encode()
        return jwt.PyJWS().encode(payload, self.private, self.algorithm, {"kid": self.kid, **(header or {})})


def new_key(algorithm: Algorithm) -> SigningKey:
    """A fresh key under a fresh name."""
    private: Any
    match algorithm:
        case "RS256":
            private = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
        case "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
    return SigningKey(kid=f"dev-{secrets.token_hex(4)}", algorithm=algorithm, private=private)


class SigningKeys:
    """The keys of one issuer."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm: Algorithm = algorithm
        self.current = new_key(algorithm)
        self.published = [self.current]
        """The newest first."""

    def rotate(self, *, keep: bool = True) -> SigningKey:
        """Signs with a new key from now on; `keep` publishes the one before it too, so that its tokens go on."""
        self.current = new_key(self._algorithm)
        self.published = [self.current, *(self.published[:1] if keep else [])]
        return self.current

    def key_set(self) -> dict[str, Any]:
        """The document that is published."""
        return {"keys": [key.public_jwk() for key in self.published]}
