"""Reads a JSON Web Key Set (RFC 7517) into the keys that can verify tokens of one algorithm."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm as Scheme
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api.errors import ApiError
from api.identity.issuers import Algorithm
from api.json_door import check_json

KEYS_MAX = 100
KID_MAX = 256
RSA_BITS = range(2_048, 8_193)
"""RFC 7518, 3.3: at least 2,048; more than 8,192 would take longer to verify than a request may."""
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518, 6: parts that only the owner may have. A key that shows them can sign for anybody."""


class UnusableKeySet(Exception):
    """Not a key set, or none of its keys can be used; the text says why."""


class VerificationKey:
    """One public key. `id` names its bytes: another key under the same `kid` has another."""

    def __init__(self, kid: str, key: Any, scheme: Scheme) -> None:
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.kid = kid
        self.id = f"jwk {hashlib.sha256(kid.encode() + b' ' + encoded).hexdigest()[:32]}"
        self._key = key
        self._scheme = scheme

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's. A malformed one is not."""
        try:
            return self._scheme.verify(message, self._key, signature)
        except (InvalidSignature, ValueError):
            return False


def read_key_set(body: bytes, algorithm: Algorithm) -> dict[str, VerificationKey]:
    """The usable keys by `kid`. What is meant for something else, such as encryption, is left out.

    A `kid` that two usable keys have names neither. `UnusableKeySet` for what is no key set, or has no usable key.
    """
    try:
        check_json(body)
        document = msgspec.json.decode(body)
    except (ApiError, msgspec.DecodeError, RecursionError) as error:
        raise UnusableKeySet("the answer is not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UnusableKeySet('the answer has no list "keys" (RFC 7517, 5)')
    if len(entries) > KEYS_MAX:
        raise UnusableKeySet(f"the answer has more than {KEYS_MAX} keys")
    keys = [key for entry in entries if (key := _usable(entry, algorithm)) is not None]
    kids = [key.kid for key in keys]
    found = {key.kid: key for key in keys if kids.count(key.kid) == 1}
    if not found:
        raise UnusableKeySet(f"the answer has no key with a kid that verifies {algorithm}")
    return found


def _usable(entry: object, algorithm: Algorithm) -> VerificationKey | None:
    if not isinstance(entry, dict):
        return None
    kid, operations = entry.get("kid"), entry.get("key_ops")
    if not isinstance(kid, str) or not 1 <= len(kid) <= KID_MAX or not _PRIVATE.isdisjoint(entry):
        return None
    if entry.get("use") not in (None, "sig") or entry.get("alg") not in (None, algorithm):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    kty, scheme, fits = _KINDS[algorithm]
    if entry.get("kty") != kty:
        return None
    try:
        key = scheme.from_jwk(entry)
    except Exception:  # noqa: BLE001  # whatever is wrong with one key, the others are not worse for it
        return None
    return VerificationKey(kid, key, scheme) if fits(key) else None


def _fits_rsa(key: object) -> bool:
    return isinstance(key, RSAPublicKey) and key.key_size in RSA_BITS


def _fits_ec(key: object) -> bool:
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)


def _fits_ed(key: object) -> bool:
    return isinstance(key, Ed25519PublicKey)


_KINDS: dict[Algorithm, tuple[str, Any, Callable[[object], bool]]] = {
    "RS256": ("RSA", RSAAlgorithm(RSAAlgorithm.SHA256), _fits_rsa),
    "ES256": ("EC", ECAlgorithm(ECAlgorithm.SHA256), _fits_ec),
    "EdDSA": ("OKP", OKPAlgorithm(), _fits_ed),
}
"""`kty`, how PyJWT verifies, and what the key must be."""
