"""What operators' commands share: how they say that something was not done, and how they show progress."""

import sys
import time
from typing import TextIO

HOUR_S = 3_600
MINUTE_S = 60


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
