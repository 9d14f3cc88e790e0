"""Time limits that are nearly always kept, at next to no cost.

A timer of the event loop costs 7 µs to begin and to call off, which is more than most of what a request does. So what
need not be exact shares one: it rings for all whose time is over, up to `TICK_S` late and never early.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")

TICKS_A_SECOND = 20
TICK_S = 1 / TICKS_A_SECOND


class Timer:
    """One time limit; `cancel` calls it off."""

    __slots__ = ("_args", "_callback", "_others")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], others: "set[Timer]") -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._others = others

    def cancel(self) -> None:
        """Harmless once it was called off, or has rung."""
        self._callback = None
        self._others.discard(self)

    def ring(self) -> None:
        """Its time is over."""
        if self._callback is not None:
            self._callback(*self._args)


class Timers:
    """All time limits of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_tick: dict[int, set[Timer]] = {}
        self._ticks: list[int] = []
        """Those of `_by_tick`, as a heap: a busy server's idle connections have one for each tick of a minute."""
        self._waiting: asyncio.TimerHandle | None = None

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Calls back in `delay_s`, or up to a tick later."""
        tick = int((self._loop.time() + delay_s) * TICKS_A_SECOND) + 1
        others = self._by_tick.get(tick)
        if others is None:
            others = self._by_tick[tick] = set()
            heappush(self._ticks, tick)
            if self._ticks[0] == tick:
                self._wait_for(tick)
        timer = Timer(callback, args, others)
        others.add(timer)
        return timer

    def _wait_for(self, tick: int) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self._loop.call_at(tick / TICKS_A_SECOND, self._tick, context=Context())

    def _tick(self) -> None:
        now = self._loop.time()
        while self._ticks and self._ticks[0] / TICKS_A_SECOND <= now:
            for timer in self._by_tick.pop(heappop(self._ticks)):
                self._loop.call_soon(timer.ring)
        self._waiting = None
        if self._ticks:
            self._wait_for(self._ticks[0])


_of_loops: dict[asyncio.AbstractEventLoop, Timers] = {}


def timers_of(loop: asyncio.AbstractEventLoop) -> Timers:
    """The loop's own."""
    found = _of_loops.get(loop)
    if found is None:
        for ended in [each for each in _of_loops if each.is_closed()]:
            del _of_loops[ended]
        found = _of_loops[loop] = Timers(loop)
    return found


async def in_time(awaitable: Awaitable[T], timeout_s: float) -> T:
    """What is awaited, or `TimeoutError`. What is there already, as most bodies and buffers are, takes no timer."""
    begun = awaitable.__await__()
    try:
        waits_for = next(begun)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(timeout_s):
        return await _going_on(begun, waits_for)


@types.coroutine
def _going_on(begun: Generator[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Awaits on what was begun by hand: hands the loop what it waits for, as `await` does (PEP 380, `yield from`)."""
    try:
        while True:
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001  # a cancellation above all; it ends there, not here
                waits_for = begun.throw(error)
            else:
                waits_for = next(begun)
    except StopIteration as done:
        result: T = done.value
        return result
