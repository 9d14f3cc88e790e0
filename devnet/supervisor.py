"""Keeps processes running: one that dies is started again, with growing pauses when it dies at once."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterable

import structlog

from devnet.child import kill_tree

log = structlog.get_logger(__name__)

PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 5.0
WELL_S = 10.0
"""A process that lived this long died of something new: it is started again at once."""
CHECK_S = 0.1


class KeepingFailed(Exception):
    """Something that must be kept running cannot be started again; the text says why."""


async def keep_until(stopping: asyncio.Event, keepers: Iterable[Coroutine[None, None, None]]) -> None:
    """Runs all keepers until told to stop. `KeepingFailed` as soon as one of them ends or fails."""
    stop = asyncio.create_task(stopping.wait())
    tasks = [asyncio.create_task(keeper) for keeper in keepers]
    try:
        await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                error = task.exception()
                raise KeepingFailed(f"cannot keep all of it running: {error or 'a keeper ended'}") from error
    finally:
        stop.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)


class Supervised:
    """One process and how to start it."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self._process = start()
        self._started = time.monotonic()
        self._pause_s = PAUSE_S_MIN

    @property
    def pid(self) -> int:
        """The pid of the process as it runs now."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process has ended; `None` while it runs."""
        return self._process.poll()

    async def keep(self) -> None:
        """Starts the process again whenever it ends; runs until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            if self._process.poll() is None:
                continue
            lived_s = time.monotonic() - self._started
            log.warning("process_died", process=self.name, code=self._process.returncode, lived_s=round(lived_s, 1))
            if lived_s > WELL_S:
                self._pause_s = PAUSE_S_MIN
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, PAUSE_S_MAX)
            self._process = self._start()
            self._started = time.monotonic()
            log.info("process_started", process=self.name, pid=self._process.pid)

    def stop(self, timeout_s: float) -> None:
        """Asks the process to end, and makes it after `timeout_s`. Blocks."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            kill_tree(self._process)
