"""Serves the provider with uvicorn, in this process or as a process of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator

import msgspec
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.server import listening_socket
from devnet.provider.app import Provider, create_app
from devnet.provider.exchange import CONNECTION
from devnet.provider.ledger import Ledger
from devnet.provider.options import ProviderOptions

BACKLOG = 4_096


class _Protocol(HttpToolsProtocol):
    """Shows the app its connection, so that it can break it off; ASGI itself has no word for that."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self.transport}  # type: ignore[dict-item]


class _Server(uvicorn.Server):
    """A uvicorn that leaves the signals to the process it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that serves: `base_url` is for an OpenAI client, `ledger` for assertions."""

    url: str
    port: int
    provider: Provider

    @property
    def base_url(self) -> str:
        """The address with `/v1`."""
        return f"{self.url}/v1"

    @property
    def ledger(self) -> Ledger:
        """Counts and log of the requests."""
        return self.provider.ledger


def config(app: Starlette, *, log_level: str | None = None) -> uvicorn.Config:
    """How the provider is served: no access log, no lifespan, open requests are cut off when it stops.

    Without a `log_level` uvicorn's loggers, which a process has once, stay as they are.
    """
    return uvicorn.Config(
        app,
        http=_Protocol,
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


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError when the port is taken."""
    listener = listening_socket(host, port)
    listener.listen(BACKLOG)
    return listener


@contextlib.asynccontextmanager
async def running(options: ProviderOptions | None = None, *, port: int = 0) -> AsyncIterator[Running]:
    """Serve in this event loop until the block ends; it answers from the block's first moment."""
    provider = Provider(options or ProviderOptions())
    listener = listening("127.0.0.1", port)
    server = _Server(config(create_app(provider)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    bound = listener.getsockname()[1]
    try:
        yield Running(url=f"http://127.0.0.1:{bound}", port=bound, provider=provider)
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        server.should_exit = True
        await serving
        listener.close()


def serve(options: ProviderOptions, listener: socket.socket) -> None:
    """Serve on `listener` until SIGINT or SIGTERM."""
    uvicorn.Server(config(create_app(options), log_level="critical")).run(sockets=[listener])
