"""Sums of usage over a period, by what requests have in common and by stretches of time.

A question that only asks for models and times is answered from days, so that it costs the same however many keys,
users and requests there are; every other one from the quarter hours. Either is exact to the quarter of an hour.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import add, itemgetter, sub
from typing import Literal, TypeAlias, TypeVar

from msgspec import Struct

from domain.instant import DAY, Instant
from projections import usage_days, usage_quarters
from projections.documents import DocumentReader
from projections.paging import read_period
from projections.projection import Projection
from projections.usage import (
    BLOCK,
    FIGURES,
    HALF_HOUR,
    QUARTER,
    Figures,
    UsageSlots,
    figures_of,
    rows_before,
    rows_from,
    rows_of,
    summed,
)
from projections.usage_days import UsageDay

D = TypeVar("D", bound=UsageSlots)
Dimension: TypeAlias = Literal["model", "api_key", "project", "user", "operation", "agent"]
FIELDS: Mapping[Dimension, str] = {
    "model": "model",
    "api_key": "key_id",
    "project": "project_id",
    "user": "user_id",
    "operation": "operation",
    "agent": "agent_id",
}
"""Where a block says what."""
PAGE = 1_000
DOCUMENTS_MAX = 100_000
"""Read for one answer: about a second's work, of which other requests notice nothing."""
GROUPS_MAX = 10_000
_slot = itemgetter(0)


class TooMuchUsage(Exception):
    """The answer would have more than `GROUPS_MAX` groups, or need more than `DOCUMENTS_MAX` documents."""


class Question(Struct, frozen=True, kw_only=True):
    """Usage from `start` to `end`, both multiples of `QUARTER`, by dimensions and stretches of time.

    `times` are the instants at which a stretch begins, ascending, the first of them at or before `start`.
    """

    account_id: str
    start: Instant
    end: Instant
    dimensions: tuple[Dimension, ...] = ()
    times: Sequence[Instant] = (0,)
    key_id: str | None = None
    """Only what was paid through this key."""


class UsageSum(Struct, frozen=True, kw_only=True):
    """Figures of all requests that have `values`, by the question's dimensions, in the stretch number `time`."""

    values: tuple[str | None, ...]
    time: int
    figures: Figures

    def figure(self, name: str) -> int:
        """One of `FIGURES`."""
        return self.figures[FIGURES.index(name)]


class _Sums:
    """Adds documents up, group by group."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._fields = [FIELDS[each] for each in question.dimensions]
        self._groups: dict[tuple[tuple[str | None, ...], int], Figures] = {}
        self._documents = 0

    def add(self, document: UsageSlots, slot_length: Instant, start: Instant, end: Instant) -> None:
        """Adds those slots of a document that lie between the instants."""
        self._documents += 1
        values = tuple(getattr(document, field) for field in self._fields)
        for time, figures in _by_time(document, slot_length, self.question.times, start, end):
            group = (values, time)
            known = self._groups.get(group)
            self._groups[group] = figures if known is None else tuple(map(add, known, figures))
        if len(self._groups) > GROUPS_MAX or self._documents > DOCUMENTS_MAX:
            raise TooMuchUsage

    def sums(self) -> list[UsageSum]:
        """All groups in which something happened, by time and then by their values."""
        found = [
            UsageSum(values=values, time=time, figures=figures)
            for (values, time), figures in self._groups.items()
            if any(figures)
        ]
        return sorted(found, key=lambda each: (each.time, [value or "" for value in each.values]))


def _by_time(
    document: UsageSlots, slot_length: Instant, times: Sequence[Instant], start: Instant, end: Instant
) -> Iterator[tuple[int, Figures]]:
    """The document's figures by stretch of time. Of one that lies in a single stretch no slot is looked at."""
    first, last = document.start, document.start + (DAY if slot_length == HALF_HOUR else BLOCK)
    begun, next_begun = bisect_right(times, first), bisect_left(times, last)
    cuts = [first, *times[begun:next_begun], last]
    if first < start or end < last:
        cuts = sorted({*cuts, *(each for each in (start, end) if first < each < last)})
    if len(cuts) == 2:  # noqa: PLR2004  # its own ends
        if start <= first < end:
            yield begun - 1, figures_of(document)
        return
    parts = _two_parts if len(cuts) == 3 else _parts  # noqa: PLR2004  # its own ends and one between them
    for cut, figures in zip(cuts, parts(document, [(cut - first) // slot_length for cut in cuts]), strict=False):
        if start <= cut < end and any(figures):
            yield bisect_right(times, cut) - 1, figures


def _parts(document: UsageSlots, cuts: Sequence[int]) -> list[Figures]:
    """The figures between each two of these slots, the first of a part included."""
    rows = rows_of(document)
    places = [bisect_left(rows, cut, key=_slot) for cut in cuts]
    return [summed(rows[place:next_place]) for place, next_place in pairwise(places)]


def _two_parts(document: UsageSlots, cuts: Sequence[int]) -> tuple[Figures, Figures]:
    """The same where there is one cut: the smaller part is read, and the sums tell the rest."""
    first, cut, last = cuts
    whole = figures_of(document)
    if last - cut <= cut - first:
        behind = summed(rows_from(document, cut))
        return tuple(map(sub, whole, behind)), behind
    before = summed(rows_before(document, cut))
    return before, tuple(map(sub, whole, before))


async def sum_usage(documents: DocumentReader, shards: int, question: Question) -> list[UsageSum]:
    """All groups in which something happened, by time and then by their values. `TooMuchUsage`."""
    sums, start, end = _Sums(question), question.start, question.end
    first, last = -(-start // HALF_HOUR) * HALF_HOUR, end // HALF_HOUR * HALF_HOUR
    if first >= last or not _of_days(question):
        await _add_blocks(documents, shards, sums, start, end)
    else:
        await asyncio.gather(
            _add_blocks(documents, shards, sums, start, first),
            _add_days(documents, shards, sums, first, last),
            _add_blocks(documents, shards, sums, last, end),
        )
    return sums.sums()


def _of_days(question: Question) -> bool:
    """Whether days know enough: they tell models apart and nothing else, and count in half hours."""
    if question.key_id is not None or not {"model"}.issuperset(question.dimensions):
        return False
    return all(each % HALF_HOUR == 0 for each in question.times)


async def _add_blocks(documents: DocumentReader, shards: int, sums: _Sums, start: Instant, end: Instant) -> None:
    key_id = sums.question.key_id
    async for block in _read(documents, shards, usage_quarters.PROJECTION, sums.question, start - start % BLOCK, end):
        if key_id is None or block.key_id == key_id:
            sums.add(block, QUARTER, start, end)


async def _add_days(documents: DocumentReader, shards: int, sums: _Sums, start: Instant, end: Instant) -> None:
    async for day in _read(documents, shards, usage_days.PROJECTION, sums.question, start - start % DAY, end):
        sums.add(day, HALF_HOUR, start, end)


async def read_days(
    documents: DocumentReader, shards: int, account_id: str, start: Instant, end: Instant
) -> list[UsageDay]:
    """All days (UTC) that have something of the period. `TooMuchUsage`."""
    question = Question(account_id=account_id, start=start, end=end)
    found = _read(documents, shards, usage_days.PROJECTION, question, start - start % DAY, end)
    days = [each async for each in found]
    if len(days) > DOCUMENTS_MAX:
        raise TooMuchUsage
    return days


def _read(
    documents: DocumentReader, shards: int, projection: Projection[D], question: Question, start: Instant, end: Instant
) -> AsyncIterator[D]:
    """The account's documents that begin between the instants."""
    return read_period(documents, projection, shards, f"account:{question.account_id}", start, end, page=PAGE)
