"""Time limits: kept for nothing, late by a tick at most, never early, and gone when called off."""

import asyncio
import contextvars
from collections.abc import Awaitable

import pytest

from api.request_body import read_body
from api.timers import TICK_S, in_time, timers_of


async def test_rings_in_order_never_early_and_not_when_called_off() -> None:
    """Each rings once, behind its time; what was called off does not, not even in the turn in which it was due."""
    loop = asyncio.get_running_loop()
    timers, done = timers_of(loop), asyncio.Event()
    rung: list[str] = []
    began = loop.time()

    def ring(name: str) -> None:
        rung.append(name)
        other.cancel()
        assert loop.time() - began >= TICK_S

    timers.call_later(10 * TICK_S, done.set)
    timers.call_later(3 * TICK_S, ring, "second")
    timers.call_later(TICK_S, ring, "first")
    other = timers.call_later(3 * TICK_S, ring, "called off")
    timers.call_later(2 * TICK_S, ring, "called off").cancel()
    # Of two in one tick either may be first, so the other is what "first" calls off.
    async with asyncio.timeout(10):
        await done.wait()
    assert rung == ["first", "second"]


async def test_one_that_fails_stops_no_other() -> None:
    """What a callback raises goes to the loop's handler, as from a timer of the loop's own."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    failures: list[BaseException] = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    timers_of(loop).call_later(0, [].pop)
    timers_of(loop).call_later(0, done.set)
    async with asyncio.timeout(10):
        await done.wait()
        while not failures:
            await asyncio.sleep(0)
    assert isinstance(failures[0], IndexError)


async def test_rings_in_nobody_s_context() -> None:
    """What one request has bound, such as its log ids, is not there when another's time is over."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    bound: contextvars.ContextVar[str] = contextvars.ContextVar("bound", default="nothing")
    seen: list[str] = []

    def look() -> None:
        seen.append(bound.get())
        if len(seen) == 3:
            done.set()

    def arm(whose: str, ticks: int) -> None:
        bound.set(whose)
        timers_of(loop).call_later(ticks * TICK_S, look)

    contextvars.copy_context().run(arm, "first request", 1)
    contextvars.copy_context().run(arm, "of the same tick", 1)
    contextvars.copy_context().run(arm, "of a later one", 3)
    async with asyncio.timeout(10):
        await done.wait()
    assert seen == ["nothing"] * 3


def test_a_body_that_is_there_takes_no_timer() -> None:
    """It is read at once: without a loop there is nothing that could time it."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    reading = read_body(receive, {}, 10)
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    assert done.value.value == b"{}"


async def test_waits_in_time_for_what_comes_in_several_steps() -> None:
    """What suspends more than once is awaited to its end, and its exception is the caller's."""

    async def steps(error: Exception | None) -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        if error is not None:
            raise error
        return 3

    assert await in_time(steps(None), 10) == 3
    with pytest.raises(KeyError):
        await in_time(steps(KeyError("x")), 10)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_takes_too_long_is_ended(cancelled: bool) -> None:
    """It sees the cancellation, by its time limit or by whoever waits for it, and ends in good order."""
    ended: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append("in good order")

    waiting: Awaitable[None] = in_time(for_ever(), 10 if cancelled else 0.01)
    if cancelled:
        waiting = task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else TimeoutError):
        await waiting
    assert ended == ["in good order"]
