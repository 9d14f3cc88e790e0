"""Reads of the past: they fold a stream's log, so they take turns, and a longer log is for the operator's tool."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from api.errors import ApiError, declare
from eventstore.errors import UnknownType
from eventstore.past import CannotFold

EVENTS_MAX = 250_000
"""Events that one request folds at most: a few seconds, in turns of milliseconds."""
WAITING_MAX = 20
"""Requests that wait for their turn at most; each of them is soon done, or refused before anything is read."""

declare(
    "past_busy",
    "unavailable",
    "Too many requests for the past wait for their turn.",
    "Try again after the seconds in Retry-After. Reads of the present do not wait.",
)
declare(
    "history_too_long",
    "conflict",
    "The account has more events before that moment than one request reads.",
    "Ask for an earlier moment, or the operator for `python -m worker show ACCOUNT --at TIME`, which has no bound.",
)


declare(
    "history_unreadable",
    "unavailable",
    "The log has an event that this release cannot read.",
    "Try again later: the service is being upgraded, or the account is being repaired. The present can be read.",
)


@contextmanager
def readable_log() -> Iterator[None]:
    """503 `history_unreadable` for what a newer release has written, and for a log that is in repair."""
    try:
        yield
    except (CannotFold, UnknownType, msgspec.MsgspecError) as error:
        raise ApiError("history_unreadable", headers={"Retry-After": "30"}) from error


class PastReads:
    """One at a time in a process, so that reading the past never takes more than a share of what it can do."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for its turn. 503 `past_busy` where too many wait already."""
        if self._waiting >= WAITING_MAX:
            raise ApiError("past_busy", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1
