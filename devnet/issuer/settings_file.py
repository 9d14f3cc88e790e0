"""The issuers file that makes Form-State take the tokens of devnet's identity provider."""

from pathlib import Path

from api.issuers import Issuers, ProjectRule, load_issuers
from devnet.issuer.issuer import AUDIENCE, DevIssuer
from domain.user import Role

__all__ = ["AUDIENCE", "issuers_file", "write_issuers_file"]

MAX_ROLE: Role = "developer"
COOLDOWN_S = 1
"""Whoever rotates by hand does not want to wait for it."""


def issuers_file(
    url: str,
    algorithm: str,
    *,
    max_role: Role = MAX_ROLE,
    project: ProjectRule = "ignore",
    cooldown_s: int = COOLDOWN_S,
) -> str:
    """Its text."""
    return f"""\
[issuers.devnet]
iss = "{url}"
jwks_url = "{url}/jwks.json"
audience = "{AUDIENCE}"
algorithm = "{algorithm}"
max_role = "{max_role}"
project = "{project}"
cooldown_s = {cooldown_s}
"""


def write_issuers_file(path: Path, issuer: DevIssuer) -> Issuers:
    """Writes it, and reads it as a process does."""
    path.write_text(issuers_file(issuer.url, issuer.algorithm), "utf-8")
    return load_issuers(path)
