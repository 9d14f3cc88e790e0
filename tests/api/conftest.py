"""What tests of the API share, one for each module that asks for it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.clock import Clock
from tests.api.mailbox import Mailbox, mailbox


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of API and worker."""
    return Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Mailbox]:
    """The operator's mailer."""
    async with mailbox() as running:
        yield running
