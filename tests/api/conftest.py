"""What tests of the API share, one for each module that asks for it. A module that needs another one makes its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.clock import Clock
from tests.api.mailbox import Mailbox, mailbox
from tests.api.running import Person, Running, application


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of API and worker."""
    return Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Mailbox]:
    """The operator's mailer."""
    async with mailbox() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """A running application."""
    async with application() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(app: Running) -> Person:
    """An admin of the application."""
    return await app.admin()
