"""Clocks for API and worker: one that a test can move, one that stands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.instant import DAY, Instant
from eventstore.clock import system_clock


class Clock:
    """The wall clock, moved ahead when told to."""

    def __init__(self) -> None:
        self.ahead: Instant = 0

    def __call__(self) -> Instant:
        """Now."""
        return system_clock() + self.ahead

    @contextmanager
    def moved(self, ahead: Instant) -> Iterator[None]:
        """Is so much ahead, for a while."""
        self.ahead += ahead
        try:
            yield
        finally:
            self.ahead -= ahead


def noon() -> Callable[[], Instant]:
    """Stands at today's noon (UTC): minute, day and month are the same at a test's beginning and end."""
    now = system_clock()
    at = now - now % DAY + DAY // 2
    return lambda: at
