"""What the identity provider does: tokens, rotation, and on request everything that real ones do wrong."""

import time
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from api.identity.issuers import Algorithm
from devnet.issuer.keys import SigningKeys

AUDIENCE = "form-state"
LIFETIME_S = 3_600
Misbehaviour: TypeAlias = Literal["none", "hang", "drip", "garbage", "missing", "redirect", "endless", "empty"]
"""How the keys are published: never answered, byte by byte, not JSON, 404, elsewhere, without an end, without a key."""


class IssuerOptions(Struct, frozen=True, kw_only=True):
    """How the issuer begins."""

    algorithm: Algorithm = "RS256"


class TokenRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token that is wanted. `claims` are added to it and may replace what is in it."""

    sub: Annotated[str, Meta(min_length=1)]
    role: str = "user"
    project_id: str = "default"
    aud: str = AUDIENCE
    expires_in_s: int = LIFETIME_S
    claims: dict[str, Any] = {}  # msgspec copies the default


class DevIssuer:
    """One issuer at one address, which is its `iss`."""

    def __init__(self, options: IssuerOptions) -> None:
        self.algorithm = options.algorithm
        self.keys = SigningKeys(options.algorithm)
        self.url = ""
        self.misbehaviour: Misbehaviour = "none"
        self.fetches = 0
        """How often the keys were asked for."""

    @property
    def jwks_url(self) -> str:
        """Where the keys are."""
        return f"{self.url}/jwks.json"

    def claims(self, request: TokenRequest) -> dict[str, Any]:
        """The claims of a token that is issued now."""
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": request.aud,
            "sub": request.sub,
            "role": request.role,
            "project_id": request.project_id,
            "iat": now,
            "exp": now + request.expires_in_s,
        } | request.claims

    def issue(self, request: TokenRequest) -> str:
        """A token, signed with the current key."""
        return self.keys.current.sign(self.claims(request))

    def token(self, sub: str, /, **claims: Any) -> str:
        """A token with the usual claims but for those given; one that is `None` is left out."""
        said = self.claims(TokenRequest(sub=sub)) | claims
        return self.keys.current.sign({name: value for name, value in said.items() if value is not None})
