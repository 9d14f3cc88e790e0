"""Waiting on conditions, always with a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


async def until(probe: Callable[[], Awaitable[T]], timeout_s: float, what: str, *, poll_s: float = POLL_S) -> T:
    """The first true value of `probe`; `AssertionError` naming `what` when there is none within `timeout_s`."""
    end = time.monotonic() + timeout_s
    while True:
        found = await probe()
        if found:
            return found
        assert time.monotonic() < end, f"not within {timeout_s:.0f} s: {what} (last seen: {found!r})"
        await asyncio.sleep(poll_s)


async def until_true(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """The same for a condition that needs no waiting itself."""

    async def probe() -> bool:
        return holds()

    await until(probe, timeout_s, what)
