"""What tests of billing share, one for each module that asks for it. A module that needs another one makes its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.billing.paying import Shop, shop_open, shop_that_asks_once


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """A running application that sells by a Stripe on this machine.

    In a module that says `STRIPE_IS_ASKED_ONCE` it does not ask again where it had no answer.
    """
    once = getattr(request.module, "STRIPE_IS_ASKED_ONCE", False)
    async with shop_that_asks_once() if once else shop_open() as opened:
        yield opened


@pytest.fixture
def quiet(shop: Shop) -> None:
    """Events of other tests are none of this one's."""
    shop.stripe.events.clear()
    shop.stripe.answers_left = None
