"""What operators' commands share: how they say that something was not done, and how they show progress."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TextIO

from eventstore.postgres.migrations import connect
from eventstore.postgres.pool import OPERATOR, DirectConnection
from eventstore.postgres.store import PostgresStore
from worker.settings import WorkerSettings

HOUR_S = 3_600
MINUTE_S = 60
GC_YOUNG = 200_000
"""Documents are no garbage: looking through them as often as Python does by default costs a third of the time."""


class NotDone(Exception):
    """The command could not do what it was asked for, or found what should not be; the text is for the operator."""


class ProgressLine:
    """How far long work is, at most once a second: units done and in all, units a second, the time left.

    `total` may be revised as work goes on, since a live log grows meanwhile.
    """

    def __init__(self, doing: str, total: int, *, done: int = 0, stream: TextIO | None = None) -> None:
        self.doing = doing
        self.total = total
        self.done = done
        self._stream = stream or sys.stderr
        self._began_with = done
        self._began = self._shown = time.monotonic()

    def add(self, done: int) -> None:
        """Counts units that are done, and says so when a second has passed."""
        self.done += done
        if time.monotonic() - self._shown >= 1.0:
            self._shown = time.monotonic()
            self.say()

    @property
    def rate(self) -> float:
        """Units a second since the beginning."""
        return (self.done - self._began_with) / max(time.monotonic() - self._began, 1e-6)

    def say(self) -> None:
        """Writes the line now."""
        percent = 100.0 * self.done / self.total if self.total else 100.0
        left = (self.total - self.done) / self.rate if self.rate else 0.0
        print(
            f"{self.doing}: {self.done:,} of {self.total:,} events ({min(percent, 100.0):.1f} %), "
            f"{self.rate:,.0f}/s, {_duration(left)} left",
            file=self._stream,
            flush=True,
        )


def _duration(seconds: float) -> str:
    whole = max(round(seconds), 0)
    if whole >= HOUR_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // MINUTE_S} min {whole % MINUTE_S} s" if whole >= MINUTE_S else f"{whole} s"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[DirectConnection]:
    """An operator's connection for the length of the block; cut where that ends by an error, whatever it is doing."""
    connection = await connect(url)
    try:
        yield connection
    except BaseException:
        connection.terminate()
        raise
    await connection.close()


@asynccontextmanager
async def operators_store(settings: WorkerSettings) -> AsyncIterator[PostgresStore]:
    """The store for an operator's command."""
    store = await PostgresStore.open(settings.database_url, OPERATOR, connections_max=4)
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def patient_collector() -> Iterator[None]:
    """Looks for cycles seldom, while millions of short-lived structs that have none come and go."""
    before = gc.get_threshold()
    gc.set_threshold(GC_YOUNG, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def side_by_side(count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `work` several times at once; the first error ends all of them and is raised as it is."""
    tasks = [asyncio.create_task(work()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
