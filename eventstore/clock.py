"""The clock of processes; the domain has none, and tests bring their own."""

import time

from domain.instant import Instant


def system_clock() -> Instant:
    """The wall clock."""
    return time.time_ns() // 1_000
