"""Serves the provider with uvicorn, in this process or as a process of its own."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.server import address_of, listening_socket
from devnet import loopback
from devnet.loopback import HOST, serving
from devnet.provider.app import Provider, create_app
from devnet.provider.exchange import CONNECTION
from devnet.provider.ledger import Ledger
from devnet.provider.options import ProviderOptions


class _Protocol(HttpToolsProtocol):
    """Shows the app its connection, so that it can break it off; ASGI itself has no word for that."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self.transport}  # type: ignore[dict-item]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that serves: `base_url` is for an OpenAI client, `ledger` for assertions."""

    url: str
    provider: Provider

    @property
    def base_url(self) -> str:
        """The address with `/v1`."""
        return f"{self.url}/v1"

    @property
    def ledger(self) -> Ledger:
        """Counts and log of the requests."""
        return self.provider.ledger


@asynccontextmanager
async def running(options: ProviderOptions | None = None, *, port: int = 0) -> AsyncIterator[Running]:
    """Serves in this event loop until the block ends; it answers from the block's first moment."""
    provider, listener = Provider(options or ProviderOptions()), listening_socket(HOST, port)
    async with serving(create_app(provider), listener, http=_Protocol):
        yield Running(url=address_of(listener), provider=provider)


def serve(options: ProviderOptions, listener: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM."""
    loopback.serve(create_app(options), listener, http=_Protocol)
