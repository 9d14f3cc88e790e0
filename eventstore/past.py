"""A stream as it was at a moment: its events up to then, and what time alone had caused by then."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs

from domain.aggregate import Aggregate
from domain.instant import Instant
from domain.recorded import Recorded
from domain.registry import aggregates
from eventstore import codec
from eventstore.store import LogStore

PAGE = 500
"""Events that are folded at once, some milliseconds; whoever else runs in the process has its turn in between."""


class CannotFold(Exception):
    """An event that this release cannot fold; the text names it and never shows a value of it."""


class TooLong(Exception):
    """The stream has more events up to the moment than the caller wants folded."""


class Past(Struct, frozen=True, kw_only=True):
    """The state at a moment, with what was due by then, and how it came about."""

    state: Any
    version: int
    """Of the last event up to the moment; 0 before the first."""
    due: tuple[Recorded, ...]
    """What time had caused by then and no event up to then says, as it would be written next, at the moment."""


async def read_past(
    log: LogStore,
    shard: int,
    stream: str,
    at: Instant,
    *,
    seen: Callable[[Recorded], None] = lambda _recorded: None,
    events_max: int | None = None,
) -> Past:
    """Folds a stream's events up to and at `at`, page by page, and then what is due by it.

    `seen` is told of each event in its order; nothing is kept but the state. `TooLong`, before anything is folded,
    where more than `events_max` lie before the moment.
    """
    if events_max is not None:
        beyond = await log.stream_events(shard, stream, events_max, 1)
        if beyond and beyond[0].at <= at:
            raise TooLong
    aggregate = aggregates()[stream.partition(":")[0]]
    state, last = aggregate.initial(), None
    while True:
        behind = 0 if last is None else last.version
        page = await log.stream_events(shard, stream, behind, PAGE)
        for stored in page:
            if stored.at > at:
                break
            try:
                last = codec.recorded(stored)
                state = aggregate.evolve(state, last.event)
            except Exception as error:
                raise CannotFold(f"{stored.type}, version {stored.version} of {stream}") from error
            seen(last)
        else:
            if len(page) == PAGE:
                await asyncio.sleep(0)
                continue
        break
    state, due = _pass_time(aggregate, state, at, last)
    return Past(state=state, version=0 if last is None else last.version, due=due)


def _pass_time(
    aggregate: Aggregate[Any], state: Any, at: Instant, last: Recorded | None
) -> tuple[Any, tuple[Recorded, ...]]:
    """What is due by `at`, as if it were written behind the `last` event; nothing is due before the first."""
    due: list[Recorded] = []
    while last is not None and (now := aggregate.due(state, at)):
        for event in now:
            due.append(structs.replace(last, version=last.version + len(due) + 1, at=at, event=event))
        state = aggregate.fold(now, state)
    return state, tuple(due)
