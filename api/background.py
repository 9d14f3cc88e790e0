"""Tasks that run beside the requests, for as long as the process does."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

_log = structlog.get_logger()


async def now_and_then(every_s: float, step: Callable[[], Awaitable[None]], *, failed: str) -> None:
    """Takes a step after half of that time to all of it, again and again, so that processes do not do it at once.

    One that breaks is logged as `failed`, whatever it is: what it left is still there at the next.
    """
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads processes
        try:
            await step()
        except Exception as error:  # noqa: BLE001  # see above
            _log.warning(failed, error=type(error).__name__)


async def ended(task: "asyncio.Task[None] | asyncio.Task[bool] | None") -> None:
    """Cancels the task and waits until it is over; nothing to do where there is none. What it raised is raised."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
