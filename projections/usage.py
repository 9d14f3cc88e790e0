"""Usage counted into stretches of time: the figures, and the fold that blocks of quarter hours and days share.

A document spans several equal slots of time and keeps its figures twice: as sums, and slot by slot in `slots`, a text
of JSON. As numbers of its own each of them would take PostgreSQL three times the space.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import add, itemgetter, sub
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage
from domain.instant import HOUR, MINUTE, Instant
from domain.money import MicroCredits
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
    requests: int = 0
    """Those that delivered something."""
    failed: int = 0
    """Those that ended without having delivered anything; nothing else counts them."""
    estimated: int = 0
    """Requests whose usage was counted by us because the provider did not say."""
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    cost: MicroCredits = 0
    latency_ms: int = 0
    """Sum over the requests."""
    slots: str = ""
    """`[[slot, requests, failed, …], …]` as JSON, in their order; slots in which nothing happened are left out."""


S = TypeVar("S", bound=UsageSlots)
FIGURES = (
    "requests",
    "failed",
    "estimated",
    "input",
    "cached",
    "cache_write",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "cost",
    "latency_ms",
)
NO_FIGURES: Figures = (0,) * len(FIGURES)
_decode = msgspec.json.Decoder(list[list[int]]).decode
_decode_row = msgspec.json.Decoder(list[int]).decode
_encode = msgspec.json.Encoder().encode
_slot = itemgetter(0)


def figures_of(document: UsageSlots) -> Figures:
    """The document's sums."""
    return (
        document.requests,
        document.failed,
        document.estimated,
        document.input,
        document.cached,
        document.cache_write,
        document.output,
        document.reasoning,
        document.audio_input,
        document.audio_output,
        document.cost,
        document.latency_ms,
    )


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
    source = usage.source
    return (
        int(source != "none"),
        int(source == "none"),
        int(source == "estimated"),
        usage.input,
        usage.cached,
        usage.cache_write,
        usage.output,
        usage.reasoning,
        usage.audio_input,
        usage.audio_output,
    )


def counted(document: S, changes: Sequence[tuple[int, Figures]], **more: str) -> S:
    """The document with all changes counted, each into its slot, and with `more` of its fields changed."""
    slots = document.slots
    for slot, change in changes if len(changes) == 1 else _by_slot(changes):
        slots = _with(slots, slot, change)
    total = changes[0][1] if len(changes) == 1 else tuple(map(sum, zip(*(each[1] for each in changes), strict=True)))
    requests, failed, estimated, fresh, cached, cache_write, output, reasoning, audio_in, audio_out, cost, took = total
    return structs.replace(
        document,
        requests=document.requests + requests,
        failed=document.failed + failed,
        estimated=document.estimated + estimated,
        input=document.input + fresh,
        cached=document.cached + cached,
        cache_write=document.cache_write + cache_write,
        output=document.output + output,
        reasoning=document.reasoning + reasoning,
        audio_input=document.audio_input + audio_in,
        audio_output=document.audio_output + audio_out,
        cost=document.cost + cost,
        latency_ms=document.latency_ms + took,
        slots=slots,
        **more,
    )


def _by_slot(changes: Iterable[tuple[int, Figures]]) -> Iterable[tuple[int, Figures]]:
    """What they come to in each slot, in the order in which the slots are first met."""
    sums: dict[int, Figures] = {}
    for slot, change in changes:
        known = sums.get(slot)
        sums[slot] = change if known is None else tuple(map(add, known, change))
    return sums.items()


def _with(slots: str, slot: int, change: Figures) -> str:
    """Nearly always it is the last slot that changes, or one after it: then the others are not even read."""
    if not slots:
        return _text([[slot, *change]])
    place = slots.rfind("[")
    last = _decode_row(slots[place:-1])
    if last[0] == slot:
        return f"{slots[:place]}{_text([slot, *map(add, last[1:], change)])}]"
    if last[0] < slot:
        return f"{slots[:-1]},{_text([slot, *change])}]"
    return _text(_inserted(slots_of(slots), slot, change))


def _inserted(rows: list[list[int]], slot: int, change: Figures) -> list[list[int]]:
    place = bisect_left(rows, slot, key=_slot)
    if rows[place][0] == slot:
        rows[place][1:] = map(add, rows[place][1:], change)
    else:
        rows.insert(place, [slot, *change])
    return rows


def _text(numbers: list[int] | list[list[int]]) -> str:
    return _encode(numbers).decode("ascii")


def slots_of(slots: str) -> list[list[int]]:
    """The slots of a document: each its number, then its figures."""
    return _decode(slots) if slots else []


def slots_from(slots: str, slot: int, end: int) -> str:
    """The part of a text of slots that begins with `slot`, of which it is told that all are less than `end`."""
    # Looked for from the end, where it is: most cuts are hours before or after midnight UTC.
    found = (slots.rfind(f"[{each},") for each in range(slot, end))
    place = next((place for place in found if place >= 0), -1)
    return "" if place < 0 else f"[{slots[place:]}"


def slots_before(slots: str, slot: int, end: int) -> str:
    """The part before `slot`."""
    found = (slots.find(f"[{each},") for each in range(slot, end))
    place = next((place for place in found if place >= 0), -1)
    return slots if place < 0 else "" if place == 1 else f"{slots[: place - 1]}]"


def summed(rows: list[list[int]]) -> Figures:
    """The figures of some slots together."""
    return tuple(map(sum, zip(*rows, strict=True)))[1:] if rows else NO_FIGURES
