"""Usage counted into stretches of time: the figures, and the fold that blocks of quarter hours and days share.

A document spans several equal slots of time. Its last slot, which nearly every request falls into, stands apart: to
count a request, one row of numbers is read and written and all the rest stays as it is. Rows are texts of JSON: as
numbers of its own each figure would take PostgreSQL three times the space, and a worker a look into cold memory.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import add, itemgetter, sub
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage, UsageSource
from domain.instant import HOUR, MINUTE, Instant
from domain.recorded import Recorded

QUARTER: Instant = 15 * MINUTE
"""The base: the bounds of every time zone's days and hours are multiples of it."""
HALF_HOUR: Instant = 30 * MINUTE
BLOCK: Instant = 6 * HOUR
USAGE_EVENTS = (HoldClosed, HoldCorrected)
Figures = tuple[int, ...]
"""Numbers in the order of `FIGURES`."""


class UsageSlots(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one model was used for from `start` (UTC) on, by a whole account or a part of it."""

    account_id: str
    start: Instant
    model: str
    last: str = ""
    """The last slot in which something happened, `[slot, requests, failed, …]` as JSON, in the order of `FIGURES`.

    Empty only while the first request is counted.
    """
    earlier: str = ""
    """Those before it, `[slot, requests, …],[slot, requests, …]`, in their order."""
    earlier_sum: str = ""
    """What they come to, `[requests, failed, …]`: nobody has to read a slot of a document that lies in one stretch."""


S = TypeVar("S", bound=UsageSlots)
TOKENS = ("input", "cached", "cache_write", "output", "reasoning", "audio_input", "audio_output")
FIGURES = ("requests", "failed", "estimated", *TOKENS, "cost", "latency_ms")
"""Requests that delivered something, those that did not (of which nothing else is counted), those whose usage was
counted by us because the provider did not say, tokens by kind, micro-credits, and the sum of how long they took."""
BY_SOURCE: Mapping[UsageSource, Figures] = {"provider": (1, 0, 0), "estimated": (1, 0, 1), "none": (0, 1, 0)}
assert Usage.__struct_fields__ == ("source", *TOKENS), "a usage is counted as it stands"
NO_FIGURES: Figures = (0,) * len(FIGURES)
_rows = msgspec.json.Decoder(list[list[int]]).decode
_row = msgspec.json.Decoder(list[int]).decode
_encode = msgspec.json.Encoder().encode
_slot = itemgetter(0)


def figures_of(document: UsageSlots) -> Figures:
    """The sums of all slots."""
    last = _row(document.last)[1:]
    return tuple(map(add, last, _row(document.earlier_sum)) if document.earlier_sum else last)


def usage_event(recorded: Recorded) -> HoldClosed | HoldCorrected:
    """The event, which is one of `USAGE_EVENTS`."""
    event = recorded.event
    assert isinstance(event, USAGE_EVENTS)
    return event


def change_of(event: HoldClosed | HoldCorrected) -> Figures:
    """What an event adds to the figures of the slot of its hold's end; what a correction replaces is taken off."""
    added = _figures(event.usage)
    if isinstance(event, HoldClosed):
        return *added, event.cost, event.latency_ms
    return *map(sub, added, _figures(event.replaced)), event.difference, event.latency_ms


def _figures(usage: Usage) -> Figures:
    """Of one request, but for what the event alone knows."""
    source, *tokens = structs.astuple(usage)
    return *BY_SOURCE[source], *tokens


def counted(document: S, slot: int, change: Figures, **more: str) -> S:
    """The document with a change counted into its slot, and with `more` of its fields changed."""
    if not document.last:
        return structs.replace(document, last=_text([slot, *change]), **more)
    last = _row(document.last)
    if slot == last[0]:
        return structs.replace(document, last=_text([slot, *map(add, last[1:], change)]), **more)
    if slot > last[0]:
        earlier = f"{document.earlier},{document.last}" if document.earlier else document.last
        row, behind = [slot, *change], last[1:]
    else:
        earlier = _text(_with(rows_of(document)[:-1], slot, change))[1:-1]
        row, behind = last, [*change]
    if document.earlier_sum:
        behind = list(map(add, behind, _row(document.earlier_sum)))
    return structs.replace(document, last=_text(row), earlier=earlier, earlier_sum=_text(behind), **more)


def _with(rows: list[list[int]], slot: int, change: Figures) -> list[list[int]]:
    """The rows, which are changed, with a change counted: usage that comes late."""
    place = bisect_left(rows, slot, key=_slot)
    if place < len(rows) and rows[place][0] == slot:
        rows[place][1:] = map(add, rows[place][1:], change)
    else:
        rows.insert(place, [slot, *change])
    return rows


def _text(numbers: Sequence[int] | list[list[int]]) -> str:
    return _encode(numbers).decode("ascii")


def rows_of(document: UsageSlots) -> list[list[int]]:
    """The slots of a document: each its number, then its figures."""
    return _rows(f"[{document.earlier}{',' if document.earlier else ''}{document.last}]")


def rows_from(document: UsageSlots, slot: int) -> list[list[int]]:
    """The slots from `slot` on. They are looked for from the end, where they are: most cuts are near midnight UTC."""
    last = _row(document.last)
    if last[0] < slot:
        return []
    found = (document.earlier.rfind(f"[{each},") for each in range(slot, last[0]))
    place = next((place for place in found if place >= 0), len(document.earlier))
    return [*_rows(f"[{document.earlier[place:]}]"), last]


def rows_before(document: UsageSlots, slot: int) -> list[list[int]]:
    """The slots before `slot`, looked for from the beginning."""
    last = _row(document.last)
    if last[0] < slot:
        return rows_of(document)
    found = (document.earlier.find(f"[{each},") for each in range(slot, last[0]))
    place = next((place for place in found if place >= 0), len(document.earlier) + 1)
    return _rows(f"[{document.earlier[: max(place - 1, 0)]}]")


def summed(rows: list[list[int]]) -> Figures:
    """The figures of some slots together."""
    return tuple(map(sum, zip(*rows, strict=True)))[1:] if rows else NO_FIGURES
