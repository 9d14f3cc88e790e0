"""The identity providers whose tokens are taken: the file that `FORMSTATE_ISSUERS_FILE` names; nobody's without one."""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct, structs

from api.identity.tokens import ISSUER as OURSELVES
from api.toml_file import TomlFile
from domain.user import Role

Algorithm: TypeAlias = Literal["RS256", "ES256", "EdDSA"]
"""RFC 7518, 3.1, and RFC 8037, 3.1 with Ed25519. None of them can be verified with a secret that both sides know."""
ProjectRule: TypeAlias = Literal["require", "create", "ignore"]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Url: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2_048)]
ClaimName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
ClaimPath: TypeAlias = Annotated[tuple[ClaimName, ...], Meta(min_length=1, max_length=8)]
"""Names of objects within each other, and of the claim in the innermost; a name with dots in it is one name."""
REGISTERED = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "sub"})
"""RFC 7519, 4.1: claims that mean something already."""


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider, as it is written in a table `[issuers.NAME]`; docs/operating.md tells of each key."""

    name: str = ""
    """The table's."""
    iss: Text
    jwks_url: Url
    audience: Text
    algorithm: Algorithm
    leeway_s: Annotated[int, Meta(ge=0, le=300)] = 30
    max_role: Role = "user"
    organization: Annotated[str, Meta(pattern=r"^org_[0-9a-f]{32}$")] | None = None
    project: ProjectRule = "ignore"
    role_claim: ClaimName | ClaimPath = "role"
    project_claim: ClaimName = "project_id"
    refresh_s: Annotated[int, Meta(ge=10, le=86_400)] = 60
    cooldown_s: Annotated[int, Meta(ge=1, le=3_600)] = 10

    @property
    def role_path(self) -> tuple[str, ...]:
        """Where the role is, from the outside in."""
        return (self.role_claim,) if isinstance(self.role_claim, str) else self.role_claim


class Issuers(Mapping[str, Issuer]):
    """All providers by their `iss`, in the file's order."""

    def __init__(self, issuers: Mapping[str, Issuer]) -> None:
        self._issuers = dict(issuers)

    def __getitem__(self, iss: str) -> Issuer:
        return self._issuers[iss]

    def __iter__(self) -> Iterator[str]:
        return iter(self._issuers)

    def __len__(self) -> int:
        return len(self._issuers)


NO_ISSUERS = Issuers({})


def load_issuers(path: Path | None) -> Issuers:
    """The providers of a file; none without a file. `BadFile` names line and key of what is wrong."""
    if path is None:
        return NO_ISSUERS
    file = TomlFile(path)
    found: dict[str, Issuer] = {}
    for name, table in file.tables("issuers", Issuer).items():
        wrong = _wrong(table)
        if wrong is None and table.iss in found:
            wrong = "iss", f"[issuers.{found[table.iss].name}] has the same; an issuer is one table"
        if wrong is not None:
            key, expected = wrong
            raise file.wrong(("issuers", name, key), expected)
        found[table.iss] = structs.replace(table, name=name)
    return Issuers(found)


def _wrong(issuer: Issuer) -> tuple[str, str] | None:
    """The first key that cannot be used, and what was expected."""
    if issuer.name:
        return "name", "unknown; the name is the table's, as in [issuers.acme]"
    if issuer.iss == OURSELVES:
        return "iss", f"{OURSELVES!r} is Form-State's own"
    if not _is_safe(issuer.jwks_url):
        return "jwks_url", 'expected a URL such as "https://login.example.com/jwks.json"; http on loopback only'
    for key, name in (("role_claim", issuer.role_path[0]), ("project_claim", issuer.project_claim)):
        if name in REGISTERED:
            return key, "expected the name of a claim that has no other meaning (RFC 7519, 4.1)"
    if issuer.role_path[0] == issuer.project_claim:
        return "project_claim", "expected another claim than role_claim"
    return None


def _is_safe(url: str) -> bool:
    """Keys that come over an open network could be anybody's."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return False
    return " " not in url and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
