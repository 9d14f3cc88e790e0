"""Looks now and then for what a billing provider does not tell by itself, outside the path of every request.

Each process looks. Payments have the same ids whoever finds them, so they count once; a plan is told as it stands.
"""

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

import structlog

from api.background import ended
from api.billing.taking import take

if TYPE_CHECKING:
    from api.parts import Services

EVERY_S = 3_600.0

_log = structlog.get_logger()


class BillingLooks:
    """`start` in the running loop, `stop` before the services end."""

    def __init__(self, services: "Services", *, every_s: float = EVERY_S) -> None:
        self._services = services
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look, where the provider leaves something untold."""
        if self._services.billing.name == "autumn":
            self._task = asyncio.create_task(self._run(), name="billing_looks")

    async def stop(self) -> None:
        """Ends it."""
        await ended(self._task)
        self._task = None

    async def step(self) -> None:
        """Looks once."""
        await self._services.billing.look(partial(take, self._services))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads processes
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001  # whatever it is, it can be found the next time
                _log.warning("billing_look_failed", error=type(error).__name__)
