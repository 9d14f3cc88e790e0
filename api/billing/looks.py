"""Looks now and then for what a billing provider does not tell by itself, outside the path of every request.

Each process looks. Payments have the same ids whoever finds them, so they count once; a plan is told as it stands.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from api.background import ended, now_and_then
from api.billing.taking import take

if TYPE_CHECKING:
    from api.parts import Services

EVERY_S = 3_600.0


class BillingLooks:
    """`start` in the running loop, `stop` before the services end."""

    def __init__(self, services: "Services", *, every_s: float = EVERY_S) -> None:
        self._services = services
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look, where the provider leaves something untold."""
        if self._services.billing.name == "autumn":
            looking = now_and_then(self._every_s, self.step, failed="billing_look_failed")
            self._task = asyncio.create_task(looking, name="billing_looks")

    async def stop(self) -> None:
        """Ends it."""
        await ended(self._task)
        self._task = None

    async def step(self) -> None:
        """Looks once."""
        await self._services.billing.look(partial(take, self._services))
