"""Tasks that run beside the requests, for as long as the process does."""

import asyncio
from contextlib import suppress


async def ended(task: "asyncio.Task[None] | asyncio.Task[bool] | None") -> None:
    """Cancels the task and waits until it is over; nothing to do where there is none. What it raised is raised."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
