"""Serves the identity provider on loopback, in this process or as a process of its own."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from api.server import Server
from devnet.issuer.app import create_app
from devnet.issuer.issuer import DevIssuer, IssuerOptions
from devnet.provider.server import config, listening

HOST = "127.0.0.1"


def on_port(port: int, options: IssuerOptions) -> tuple[DevIssuer, socket.socket]:
    """An issuer and the socket that it will be served on; port 0 takes a free one. `OSError` when it is taken."""
    issuer, listener = DevIssuer(options), listening(HOST, port)
    issuer.url = f"http://{HOST}:{listener.getsockname()[1]}"
    return issuer, listener


@asynccontextmanager
async def running(options: IssuerOptions | None = None, *, port: int = 0) -> AsyncIterator[DevIssuer]:
    """Serves in this event loop until the block ends."""
    issuer, listener = on_port(port, options or IssuerOptions())
    server = Server(config(create_app(issuer)))
    async with server.serving(listener):
        try:
            yield issuer
        finally:
            for connection in list(server.server_state.connections):
                connection.transport.abort()


def serve(issuer: DevIssuer, listener: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM."""
    uvicorn.Server(config(create_app(issuer), log_level="critical")).run(sockets=[listener])
