"""An identity provider for devnet, the stack and tests: signs what it is asked to, and publishes its keys over HTTP.

In process: `async with running(IssuerOptions()) as issuer: issuer.token("ada", role="developer")`.
On its own: `python -m devnet.issuer --port P`. Whoever reaches it may have any token: it listens on loopback only.
"""

from devnet.issuer.issuer import AUDIENCE, DevIssuer, IssuerOptions, TokenRequest
from devnet.issuer.server import running
from devnet.issuer.settings_file import write_issuers_file

__all__ = ["AUDIENCE", "DevIssuer", "IssuerOptions", "TokenRequest", "running", "write_issuers_file"]
