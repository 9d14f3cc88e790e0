"""Serves the identity provider on loopback, in this process or as a process of its own."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.server import address_of, listening_socket
from devnet import loopback
from devnet.issuer.app import create_app
from devnet.issuer.issuer import DevIssuer, IssuerOptions
from devnet.loopback import HOST, serving


def on_port(port: int, options: IssuerOptions) -> tuple[DevIssuer, socket.socket]:
    """An issuer and the socket that it will be served on; port 0 takes a free one. `OSError` when it is taken."""
    issuer, listener = DevIssuer(options), listening_socket(HOST, port)
    issuer.url = address_of(listener)
    return issuer, listener


@asynccontextmanager
async def running(options: IssuerOptions | None = None, *, port: int = 0) -> AsyncIterator[DevIssuer]:
    """Serves in this event loop until the block ends."""
    issuer, listener = on_port(port, options or IssuerOptions())
    async with serving(create_app(issuer), listener):
        yield issuer


def serve(issuer: DevIssuer, listener: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM."""
    loopback.serve(create_app(issuer), listener)
