"""Usage by day (UTC) and model, whoever used it: what answers for months, however many requests there were.

Slots are half hours, so that sums follow the days and hours of nearly every time zone; the few zones that count in
quarters are answered from `usage_quarters`.
"""

from collections.abc import Sequence

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.instant import DAY
from domain.recorded import Recorded
from projections import usage_histogram
from projections.paging import instant_sort
from projections.projection import Projection
from projections.usage import BLOCK, HALF_HOUR, USAGE_EVENTS, UsageSlots, change_of, counted, usage_event


class UsageDay(UsageSlots, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A day of one model. The histograms are of each quarter of the day, see `usage_histogram`."""

    latencies: str = ""
    """Milliseconds of requests that were settled."""
    tokens: str = ""
    """All tokens of a request that delivered something."""


def _key(recorded: Recorded) -> str:
    event = usage_event(recorded)
    return f"{recorded.entity_id}:{instant_sort(event.closed_at - event.closed_at % DAY)}:{event.model}"


def _evolve_all(day: UsageDay | None, recorded: Sequence[Recorded]) -> UsageDay:
    events = [usage_event(each) for each in recorded]
    if day is None:
        first = events[0]
        start = first.closed_at - first.closed_at % DAY
        day = UsageDay(account_id=recorded[0].entity_id, start=start, model=first.model)
    start = day.start
    latencies: dict[int, int] = {}
    tokens: dict[int, int] = {}
    for event in events:
        part = (event.closed_at - start) // BLOCK
        _count_latency(latencies, event, part)
        _count_tokens(tokens, event, part)
    return counted(
        day,
        [((event.closed_at - start) // HALF_HOUR, change_of(event)) for event in events],
        latencies=usage_histogram.counted(day.latencies, latencies),
        tokens=usage_histogram.counted(day.tokens, tokens),
    )


def _count_latency(latencies: dict[int, int], event: HoldClosed | HoldCorrected, part: int) -> None:
    """A settle tells how long it took, at once or late; what is taken back later took as long."""
    settled = event.how == "settled" if isinstance(event, HoldClosed) else event.latency_ms > 0
    if settled:
        code = usage_histogram.code_of(part, event.latency_ms)
        latencies[code] = latencies.get(code, 0) + 1


def _count_tokens(tokens: dict[int, int], event: HoldClosed | HoldCorrected, part: int) -> None:
    if isinstance(event, HoldCorrected) and event.replaced.source != "none":
        code = usage_histogram.code_of(part, event.replaced.prompt + event.replaced.completion)
        tokens[code] = tokens.get(code, 0) - 1
    if event.usage.source != "none":
        code = usage_histogram.code_of(part, event.usage.prompt + event.usage.completion)
        tokens[code] = tokens.get(code, 0) + 1


PROJECTION = Projection(
    collection="usage_days",
    version=2,
    document=UsageDay,
    events=USAGE_EVENTS,
    key=_key,
    evolve=lambda day, recorded: _evolve_all(day, (recorded,)),
    evolve_all=_evolve_all,
    owner=lambda day: day.account_id,
    sort=lambda day: instant_sort(day.start),
)
