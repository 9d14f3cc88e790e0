"""Login tokens: JWTs (RFC 7519) signed with HS256. They carry the user and its `ver`, and nothing personal.

Made from a given instant, so that a retried registration answers the same token.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import jwt
from msgspec import Struct

from api import base64url
from domain.instant import HOUR, SECOND, Instant

ISSUER = "formstate"
LIFETIME: Instant = 24 * HOUR
SECRET_BYTES_MIN = 32
"""RFC 7518, 3.2: as long as the hash."""
SIZE_BYTES_MAX = 4096
VERIFIED_MAX = 10_000
_LEEWAY: Instant = 60 * SECOND
"""A token of another API process may come from a clock that runs ahead by this much."""


class TokenRefused(Exception):
    """Not a token that is taken here, or no longer good; `expired` tells which. `public` may be shown.

    `user_id` is whose token it was, where a signature of ours says so.
    """

    def __init__(
        self, reason: str, *, expired: bool = False, public: str | None = None, user_id: str | None = None
    ) -> None:
        super().__init__(reason)
        self.expired = expired
        self.public = public
        self.user_id = user_id


class LoginToken(Struct, frozen=True, kw_only=True):
    """What a login answers."""

    text: str
    expires_at: Instant


class Claims(Struct, frozen=True, kw_only=True):
    """What a verified token says. Whether `ver` is still the user's is for the caller to check."""

    user_id: str
    ver: int
    issued_at: Instant
    expires_at: Instant


class Tokens:
    """Signs with the first of `secrets` (id to 32 bytes or more), verifies with any; the `kid` header names it."""

    def __init__(self, secrets: Mapping[str, bytes], *, verified_max: int = VERIFIED_MAX) -> None:
        if not secrets or any(len(secret) < SECRET_BYTES_MIN for secret in secrets.values()):
            raise ValueError(f"token secrets: at least one, each of {SECRET_BYTES_MIN} bytes or more")
        self._secrets = dict(secrets)
        self._current = next(iter(secrets))
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()
        self._verified_max = verified_max

    def issue(self, user_id: str, ver: int, at: Instant) -> LoginToken:
        """A token of 24 hours from `at`, whole seconds; the same for the same input."""
        issued_s = at // SECOND
        expires_s = issued_s + LIFETIME // SECOND
        claims = {"iss": ISSUER, "sub": user_id, "ver": ver, "iat": issued_s, "exp": expires_s}
        text = jwt.encode(claims, self._secrets[self._current], algorithm="HS256", headers={"kid": self._current})
        return LoginToken(text=text, expires_at=expires_s * SECOND)

    def verify(self, text: str, now: Instant) -> Claims:
        """The claims of a good token. `TokenRefused` for any other, never another error."""
        if len(text) > SIZE_BYTES_MAX or not text.isascii():
            raise TokenRefused("too large, or not a token")
        digest = hashlib.sha256(text.encode()).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._decoded(text)
        if claims.expires_at <= now:
            self._verified.pop(digest, None)
            raise TokenRefused("expired", expired=True, user_id=claims.user_id)
        if claims.issued_at > now + _LEEWAY:
            raise TokenRefused("issued in the future")
        self._verified[digest] = claims
        self._verified.move_to_end(digest)
        if len(self._verified) > self._verified_max:
            self._verified.popitem(last=False)
        return claims

    def _decoded(self, text: str) -> Claims:
        try:
            for part in text.split("."):
                base64url.decoded(part)  # which refuses every spelling but one
            kid = jwt.get_unverified_header(text).get("kid")
            secret = self._secrets.get(kid) if isinstance(kid, str) else None
            if secret is None:
                raise TokenRefused("signed with a secret that is not known here")
            said = jwt.decode(
                text,
                secret,
                algorithms=["HS256"],
                issuer=ISSUER,
                # Times are compared with the clock that we were given, not with the library's.
                options={"require": ["exp", "iat", "sub", "iss"], "verify_exp": False, "verify_iat": False},
            )
            return _claims(said["sub"], said.get("ver"), said["iat"], said["exp"])
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise TokenRefused("not a token of this service") from error


def _claims(sub: object, ver: object, iat: object, exp: object) -> Claims:
    if not isinstance(sub, str) or type(ver) is not int or type(iat) is not int or type(exp) is not int:
        raise TokenRefused("claims of a wrong type")
    return Claims(user_id=sub, ver=ver, issued_at=iat * SECOND, expires_at=exp * SECOND)
