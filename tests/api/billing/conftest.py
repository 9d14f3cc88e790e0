"""What tests of billing share, one for each module that asks for it. A module that needs another one makes its own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.api.billing.paying import Shop, shop_open


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    """A running application that sells by a Stripe on this machine."""
    async with shop_open() as opened:
        yield opened
