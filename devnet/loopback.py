"""Small servers on this machine: how uvicorn runs them, for the length of a block or as a process of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.server import Server

HOST = "127.0.0.1"


@asynccontextmanager
async def serving(
    app: Any, listener: socket.socket, *, http: type[asyncio.Protocol] = HttpToolsProtocol
) -> AsyncIterator[None]:
    """Serves in this event loop until the block ends; what is open then is cut off."""
    server = Server(_config(app, http))
    async with server.serving(listener):
        try:
            yield
        finally:
            for connection in list(server.server_state.connections):
                connection.transport.abort()


def serve(app: Any, listener: socket.socket, *, http: type[asyncio.Protocol] = HttpToolsProtocol) -> None:
    """Serves until SIGINT or SIGTERM."""
    uvicorn.Server(_config(app, http, log_level="critical")).run(sockets=[listener])


def _config(app: Any, http: type[asyncio.Protocol], *, log_level: str | None = None) -> uvicorn.Config:
    """No access log, no lifespan, open requests are cut off when it stops.

    Without a `log_level` uvicorn's loggers, which a process has once, stay as they are.
    """
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_level=log_level,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
