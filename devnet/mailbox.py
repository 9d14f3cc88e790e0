"""The stack's mailer: takes the webhook, holds it against its signature, and prints the mail as devnet does."""

import hmac
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.mail.mailer import SIGNATURE, signature
from api.server import address_of, listening_socket
from devnet.loopback import HOST, serving

BODY_SIZE_MAX = 64 * 1024


@asynccontextmanager
async def mailbox(secret: bytes) -> AsyncIterator[str]:
    """Serves in this event loop until the block ends; yields the address for `FORMSTATE_MAILER_URL`."""
    listener = listening_socket(HOST, 0)
    async with serving(create_app(secret), listener):
        yield f"{address_of(listener)}/"


def create_app(secret: bytes) -> Starlette:
    """204 for a mail that was printed, 403 for a signature of another secret, 413 for what is too large for a mail."""

    async def take(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_SIZE_MAX:
                return Response(status_code=413)
        given = request.headers.get(SIGNATURE, "")
        at_s = given.partition(",")[0].removeprefix("t=")
        if not (at_s.isascii() and at_s.isdigit() and len(at_s) < 16):  # noqa: PLR2004  # digits of any instant
            return Response(status_code=403)
        if not hmac.compare_digest(given.encode(), signature([secret], int(at_s), bytes(body)).encode()):
            return Response(status_code=403)
        sys.stderr.write(f'{{"mail":{body.decode()}}}\n')
        sys.stderr.flush()
        return Response(status_code=204)

    return Starlette(routes=[Route("/", take, methods=["POST"])])
