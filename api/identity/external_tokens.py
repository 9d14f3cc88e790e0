"""Tokens of identity providers: JWTs (RFC 7519) in compact form, each verified with a key that its issuer publishes.

The issuer's own algorithm alone is taken (RFC 8725, 3.1); what a token says of itself chooses a key by its name and
nothing else. Every refusal is a `TokenRefused`, whose text may be shown: nothing of the token is in it.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from api import base64url
from api.errors import ApiError
from api.identity.issuers import Issuer, Issuers
from api.identity.jwks import Jwks
from api.identity.jwks_document import KID_MAX
from api.identity.tokens import TokenRefused
from api.json_door import check_json
from domain.instant import SECOND, Instant
from domain.user import ROLES, Role, lower_role

SUBJECT_MAX = 255
"""OpenID Connect Core 1.0, 2."""
PROJECT_MAX = 128
AUDIENCES_MAX = 100
SAID_MAX = 1_000
"""Roles and groups in one claim."""
TIME_S_MAX = 10**11
"""The year 5138: what is later is no time."""
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""RFC 7519, 5.1, and RFC 9068, 2.1: `typ` of what may be used as here. A token for another use names another."""
_PART = "([A-Za-z0-9_-]+)"
_COMPACT = re.compile(rf"{_PART}\.{_PART}\.{_PART}", re.ASCII)


class ExternalToken(Struct, frozen=True, kw_only=True):
    """What a verified token says."""

    issuer: Issuer
    subject: str
    role: Role
    """At most the issuer's `max_role`."""
    project_id: str
    issued_at: Instant
    """0 where the token does not say."""
    expires_at: Instant
    """With the issuer's leeway."""
    key_id: str
    """The key that signed it: when the issuer takes the key back, the token is no longer good."""
    claims_json: bytes
    """The claims that have no meaning here, as a JSON object."""


class _Unverified(Struct, frozen=True, kw_only=True):
    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


class ExternalTokens:
    """The tokens of all configured issuers. `start` before the first `verify`, `stop` after the last.

    `removed` is told the `key_id`s of keys that an issuer took back.
    """

    def __init__(
        self,
        issuers: Issuers,
        http: aiohttp.ClientSession,
        *,
        removed: Callable[[Iterable[str]], None],
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self.issuers = issuers
        self._jwks = {iss: Jwks(each, http, removed=removed, now_s=now_s) for iss, each in issuers.items()}

    def start(self) -> None:
        """Begins to fetch the keys; waits for no issuer."""
        for jwks in self._jwks.values():
            jwks.start()

    async def stop(self) -> None:
        """Ends the fetching."""
        await asyncio.gather(*[jwks.stop() for jwks in self._jwks.values()])

    async def verify(self, text: str, clock: Callable[[], Instant]) -> ExternalToken | None:
        """What the token says; `None` where no issuer here is said to have made it. `TokenRefused` for a bad one.

        Waits, within a bound, only for a key that is not known yet.
        """
        token = _parsed(text) if self.issuers else None
        iss = None if token is None else token.claims.get("iss")
        issuer = self.issuers.get(iss) if isinstance(iss, str) else None
        if token is None or issuer is None:
            return None
        key = await self._jwks[issuer.iss].key(_kid(token.header, issuer))
        if key is None:
            raise _refused("The token's key is not one that its issuer publishes.")
        if not key.verifies(token.signed, token.signature):
            raise _refused("The token's signature is wrong.")
        return _read(token.claims, issuer, key.id, clock())


def _parsed(text: str) -> _Unverified | None:
    """The parts of a token in compact form (RFC 7515, 7.1), nothing of it believed; `None` for anything else.

    One text for one token: base64url has spellings that decode alike (RFC 4648, 3.5), and JSON lets names be given
    twice. Neither is taken.
    """
    found = _COMPACT.fullmatch(text)
    if found is None:
        return None
    try:
        header, claims, signature = (base64url.decoded(part) for part in found.groups())
        return _Unverified(
            header=_object(header),
            claims=_object(claims),
            signed=text[: found.end(2)].encode(),
            signature=signature,
        )
    except (ApiError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _object(body: bytes) -> dict[str, Any]:
    check_json(body)
    return msgspec.json.decode(body, type=dict[str, Any])


def _kid(header: Mapping[str, Any], issuer: Issuer) -> str:
    """The name of the key. `crit` names what must be understood (RFC 7515, 4.1.11), and nothing is."""
    kid, kind = header.get("kid"), header.get("typ", "JWT")
    if header.get("alg") != issuer.algorithm:
        raise _refused(f"The token is not signed with {issuer.algorithm}.")
    if "crit" in header or not isinstance(kind, str) or kind.lower() not in TYPES:
        raise _refused("The token is of a kind that is not taken here.")
    if not isinstance(kid, str) or not 1 <= len(kid) <= KID_MAX:
        raise _refused("The token does not name its key.")
    return kid


def _read(claims: Mapping[str, Any], issuer: Issuer, key_id: str, now: Instant) -> ExternalToken:
    leeway = issuer.leeway_s * SECOND
    expires_at = _time(claims, "exp")
    begins_at, issued_at = _time(claims, "nbf"), _time(claims, "iat")
    if expires_at is None:
        raise _refused("The token does not say when it ends.")
    if not _is_for(issuer.audience, claims.get("aud")):
        raise _refused("The token is for another audience.")
    if now >= expires_at + leeway:
        raise _refused("The token has expired.", expired=True)
    if max(begins_at or 0, issued_at or 0) > now + leeway:
        raise _refused("The token is not good yet.")
    known = {"iss", "aud", "exp", "nbf", "iat", "sub", issuer.project_claim}
    if len(issuer.role_path) == 1:  # else there may be more in what it lies in
        known.update(issuer.role_path)
    return ExternalToken(
        issuer=issuer,
        subject=_text(claims, "sub", SUBJECT_MAX),
        role=lower_role(_role(claims, issuer.role_path), issuer.max_role),
        project_id=_text(claims, issuer.project_claim, PROJECT_MAX),
        issued_at=issued_at or 0,
        expires_at=expires_at + leeway,
        key_id=key_id,
        claims_json=msgspec.json.encode({name: value for name, value in claims.items() if name not in known}),
    )


def _time(claims: Mapping[str, Any], name: str) -> Instant | None:
    """A NumericDate (RFC 7519, 2): seconds, a fraction allowed."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= TIME_S_MAX:
        raise _refused(f"The token's {name} is no time.")
    return int(value * SECOND)


def _is_for(audience: str, said: object) -> bool:
    if isinstance(said, list):
        return len(said) <= AUDIENCES_MAX and all(isinstance(each, str) for each in said) and audience in said
    return said == audience


def _text(claims: Mapping[str, Any], name: str, size_max: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= size_max:
        raise _refused(f"The token's claim {name} is missing, or not a text of 1 to {size_max} characters.")
    return value


def _role(claims: Mapping[str, Any], path: Sequence[str]) -> Role:
    """The role that the claim says, or the highest of several; others may stand beside it in a list, none alone."""
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    said = value if isinstance(value, list) else [value]
    if len(said) <= SAID_MAX and all(isinstance(each, str) for each in said):
        for role in reversed(ROLES):
            if role in said:
                return role
    raise _refused(f"The token's claim {' > '.join(path)} is missing, or says none of {', '.join(ROLES)}.")


def _refused(message: str, *, expired: bool = False) -> TokenRefused:
    return TokenRefused(message, expired=expired, public=message)
