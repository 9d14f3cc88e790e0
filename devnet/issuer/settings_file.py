"""The issuers file that makes Form-State take the tokens of devnet's identity provider."""

from pathlib import Path

from api.identity.issuers import Algorithm, Issuers, load_issuers
from devnet.issuer.issuer import AUDIENCE

TEXT = """\
[issuers.devnet]
iss = "{url}"
jwks_url = "{url}/jwks.json"
audience = "{audience}"
algorithm = "{algorithm}"
max_role = "developer"
cooldown_s = 1 # whoever rotates by hand does not want to wait for it
"""


def write_issuers_file(path: Path, url: str, algorithm: Algorithm) -> Issuers:
    """Writes it, and reads it as a process does."""
    path.write_text(TEXT.format(url=url, algorithm=algorithm, audience=AUDIENCE), "utf-8")
    return load_issuers(path)
