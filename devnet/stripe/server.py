"""Serves the payment provider on loopback, in this process."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from api.server import address_of, listening_socket
from devnet.loopback import HOST, serving
from devnet.stripe.app import create_app
from devnet.stripe.shop import DevStripe, Price


@asynccontextmanager
async def running(prices: Iterable[Price] = (), *, port: int = 0) -> AsyncIterator[DevStripe]:
    """Serves in this event loop until the block ends."""
    shop, listener = DevStripe(prices), listening_socket(HOST, port)
    shop.url = address_of(listener)
    async with serving(create_app(shop), listener):
        yield shop
