"""Usage by day (UTC) and model, whoever used it: what answers for months, however many requests there were.

Slots are half hours, so that sums follow the days and hours of nearly every time zone; the few zones that count in
quarters are answered from `usage_quarters`.
"""

from msgspec import structs

from domain.account.holds import HoldClosed, HoldCorrected
from domain.instant import DAY
from domain.recorded import Recorded
from projections import usage_histogram
from projections.paging import instant_sort
from projections.projection import Projection
from projections.usage import BLOCK, HALF_HOUR, USAGE_EVENTS, UsageSlots, change_of, counted


class UsageDay(UsageSlots, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A day of one model. The histograms are of each quarter of the day, see `usage_histogram`."""

    latencies: str = ""
    """Milliseconds of requests that were settled."""
    tokens: str = ""
    """All tokens of a request that delivered something."""


def _key(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, USAGE_EVENTS)
    return f"{recorded.entity_id}:{instant_sort(event.closed_at - event.closed_at % DAY)}:{event.model}"


def _evolve(day: UsageDay | None, recorded: Recorded) -> UsageDay:
    event = recorded.event
    assert isinstance(event, USAGE_EVENTS)
    if day is None:
        start = event.closed_at - event.closed_at % DAY
        day = UsageDay(account_id=recorded.entity_id, start=start, model=event.model)
    into = event.closed_at - day.start
    fields = counted(day, into // HALF_HOUR, change_of(event))
    part = into // BLOCK
    latencies, tokens = _latencies(day, event, part), _tokens(day, event, part)
    return structs.replace(day, latencies=latencies, tokens=tokens, **fields)


def _latencies(day: UsageDay, event: HoldClosed | HoldCorrected, part: int) -> str:
    """A settle tells how long it took, at once or late; what is taken back later took as long."""
    settled = event.how == "settled" if isinstance(event, HoldClosed) else event.latency_ms > 0
    return usage_histogram.counted(day.latencies, part, event.latency_ms) if settled else day.latencies


def _tokens(day: UsageDay, event: HoldClosed | HoldCorrected, part: int) -> str:
    histogram, now = day.tokens, event.usage
    if isinstance(event, HoldCorrected) and event.replaced.source != "none":
        before = event.replaced
        histogram = usage_histogram.counted(histogram, part, before.prompt + before.completion, -1)
    if now.source != "none":
        histogram = usage_histogram.counted(histogram, part, now.prompt + now.completion)
    return histogram


PROJECTION = Projection(
    collection="usage_days",
    version=2,
    document=UsageDay,
    events=USAGE_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda day: day.account_id,
    sort=lambda day: instant_sort(day.start),
)
