"""`python -m devnet.issuer --port P`: the identity provider as a server of its own."""

import argparse
import json
import os
import sys
from typing import get_args

from api.identity.issuers import Algorithm
from devnet.issuer.issuer import AUDIENCE, IssuerOptions
from devnet.issuer.server import on_port, serve
from devnet.loopback import HOST

EPILOG = f"""\
  a token      curl localhost:9200/token -d '{{"sub": "ada", "role": "developer", "project_id": "default"}}'
               also "aud" ({AUDIENCE}), "expires_in_s" (3600), "claims" {{…}}
  a new key    curl localhost:9200/rotate -d '{{}}'        ("keep": false: tokens of the one before it end)
  the keys     curl localhost:9200/jwks.json
  misbehave    curl localhost:9200/_control -d '{{"misbehaviour": "hang"}}'

It gives any token to whoever asks, and listens on loopback only.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="python -m devnet.issuer",
        description="An OpenID provider for development and tests: any token for the asking.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--port", type=int, default=9200, help="port, 0 for a free one (default: %(default)s)")
    words.add_argument("--algorithm", choices=get_args(Algorithm), default="RS256", help="(default: %(default)s)")
    words.add_argument("--json", action="store_true", help="print the address as one JSON object")
    return words


def main() -> None:
    """Prints the address, serves until SIGINT or SIGTERM."""
    words = parser().parse_args()
    try:
        issuer, listener = on_port(words.port, IssuerOptions(algorithm=words.algorithm))
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {HOST} port {words.port}: {error}")
    ready = {"url": issuer.url, "algorithm": issuer.algorithm, "audience": AUDIENCE, "pid": os.getpid()}
    print(json.dumps(ready) if words.json else f"identity provider on {issuer.url}", flush=True)
    serve(issuer, listener)


if __name__ == "__main__":
    main()
