"""Usage by day (UTC) and model, whoever used it: what answers for months, however many requests there were.

Slots are half hours, so that sums follow the days and hours of nearly every time zone; the few zones that count in
quarters are answered from `usage_quarters`.
"""

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import NOTHING_USED
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


def _evolve(day: UsageDay | None, recorded: Recorded) -> UsageDay:
    event = usage_event(recorded)
    day = day or UsageDay(
        account_id=recorded.entity_id, start=event.closed_at - event.closed_at % DAY, model=event.model
    )
    since = event.closed_at - day.start
    return counted(
        day,
        since // HALF_HOUR,
        change_of(event),
        latencies=_latencies(day.latencies, event, since // BLOCK),
        tokens=_tokens(day.tokens, event, since // BLOCK),
    )


def _latencies(histogram: str, event: HoldClosed | HoldCorrected, part: int) -> str:
    """A settle tells how long it took, at once or late; what is taken back later took as long."""
    settled = event.how == "settled" if isinstance(event, HoldClosed) else event.latency_ms > 0
    if not settled:
        return histogram
    return usage_histogram.counted(histogram, usage_histogram.code_of(part, event.latency_ms), 1)


def _tokens(histogram: str, event: HoldClosed | HoldCorrected, part: int) -> str:
    replaced = event.replaced if isinstance(event, HoldCorrected) else NOTHING_USED
    for usage, change in ((replaced, -1), (event.usage, 1)):
        if usage.source != "none":
            code = usage_histogram.code_of(part, usage.prompt + usage.completion)
            histogram = usage_histogram.counted(histogram, code, change)
    return histogram


PROJECTION = Projection(
    collection="usage_days",
    version=3,
    document=UsageDay,
    events=USAGE_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda day: day.account_id,
    sort=lambda day: instant_sort(day.start),
)
