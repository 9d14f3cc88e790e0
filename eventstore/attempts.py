"""Failed attempts, such as logins with a wrong password, counted for all API processes at once.

An attempt is counted as failed before it is looked at, so a hundred at once are a hundred. Who has failed too often
waits: an attempt that comes too early is not counted, so nobody can keep anybody waiting for ever.
"""

from typing import Protocol

from msgspec import Struct

from domain.instant import HOUR, SECOND, Instant

FORGOTTEN: Instant = HOUR
"""Who has not failed for so long has not failed. No wait is longer."""


class Allowance(Struct, frozen=True, kw_only=True):
    """`free` failures, then a wait of `first_s` that doubles with each further one, up to `longest_s`."""

    free: int
    first_s: int
    longest_s: int

    def wait(self, failures: int) -> Instant:
        """How long after this many failures in a row the next attempt has to wait, in microseconds."""
        if failures < self.free:
            return 0
        return min(self.first_s << min(failures - self.free, 30), self.longest_s) * SECOND


class Attempts(Struct, frozen=True, kw_only=True):
    """How a subject stands: failures, with the one that was just counted, or the wait that kept it from counting."""

    failures: int
    wait: Instant = 0
    """Microseconds until the next may come; 0 if this one was counted."""


class AttemptStore(Protocol):
    """The part of a store that API processes share their failures through. Its clock is the only one."""

    async def count_attempt(self, subject: str, allowance: Allowance) -> Attempts:
        """Counts one as failed, unless the subject has to wait. Two at once are counted one after the other."""
        ...

    async def take_back_attempt(self, subject: str) -> None:
        """Counts one failure less."""
        ...

    async def forget_attempts(self, subject: str) -> None:
        """Forgets all failures of a subject."""
        ...
