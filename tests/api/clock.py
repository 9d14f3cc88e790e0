"""A clock for API and worker that a test can move."""

from collections.abc import Iterator
from contextlib import contextmanager

from domain.instant import Instant
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
