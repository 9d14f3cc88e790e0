"""Work that no request waits for: taken in order, a few at a time, bounded, and ended with the process."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from api.errors import ApiError

WAITING_MAX = 1_000
AT_ONCE = 4
DRAIN_S = 5.0
"""How long errands that wait may still be run when the process ends."""

Errand = Callable[[], Awaitable[None]]

_log = structlog.get_logger()


class Errands:
    """`start` in the running loop; `stop` runs what is left, for a bounded time. An errand that fails is told, once."""

    def __init__(self, *, waiting_max: int = WAITING_MAX, drain_s: float = DRAIN_S) -> None:
        self._queue: asyncio.Queue[tuple[str, Errand]] = asyncio.Queue(waiting_max)
        self._drain_s = drain_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to run them."""
        self._tasks = [asyncio.create_task(self._run(), name="errands") for _ in range(AT_ONCE)]

    async def stop(self) -> None:
        """Runs what waits, as far as there is time, and ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._queue.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._queue.empty():
            _log.warning("errands_abandoned", count=self._queue.qsize())

    def add(self, name: str, errand: Errand) -> None:
        """Takes an errand. 503 `busy` when too many wait."""
        try:
            self._queue.put_nowait((name, errand))
        except asyncio.QueueFull:
            raise ApiError("busy", headers={"Retry-After": "10"}) from None

    async def _run(self) -> None:
        while True:
            name, errand = await self._queue.get()
            try:
                await errand()
            except Exception:  # noqa: BLE001 (one errand's failure must not end the others)
                _log.exception("errand_failed", errand=name)
            finally:
                self._queue.task_done()
