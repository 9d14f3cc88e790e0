"""Serves the payment provider on loopback, in this process."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from api.server import Server
from devnet.provider.server import config, listening
from devnet.stripe.app import create_app
from devnet.stripe.shop import DevStripe, Price

HOST = "127.0.0.1"


@asynccontextmanager
async def running(prices: Iterable[Price] = (), *, port: int = 0) -> AsyncIterator[DevStripe]:
    """Serves in this event loop until the block ends."""
    shop, listener = DevStripe(prices), listening(HOST, port)
    shop.url = f"http://{HOST}:{listener.getsockname()[1]}"
    server = Server(config(create_app(shop)))
    async with server.serving(listener):
        try:
            yield shop
        finally:
            for connection in list(server.server_state.connections):
                connection.transport.abort()
