"""How a process is asked to stop: the first SIGINT or SIGTERM asks, the second does not wait for an answer."""

import asyncio
import os
import signal
from collections.abc import Callable

NUMBERS = (signal.SIGINT, signal.SIGTERM)


def stop_signals(at_once: Callable[[int], None] | None = None) -> asyncio.Event:
    """An event that the first signal sets. Call it in the running event loop.

    The second one, of either kind, calls `at_once` with its number; without that the kernel ends the process, so
    that it ends even where the event loop no longer comes round.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        if not asked.is_set():
            asked.set()
            if at_once is None:
                _leave_to_the_kernel(loop)
        elif at_once is None:
            os.kill(os.getpid(), number)  # it came in before the kernel was told
        else:
            at_once(number)

    for number in NUMBERS:
        loop.add_signal_handler(number, received, number)
    return asked


def _leave_to_the_kernel(loop: asyncio.AbstractEventLoop) -> None:
    for number in NUMBERS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
