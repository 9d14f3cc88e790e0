"""What the account will have used when its period ends, how sure that is, and what it was made from."""

from datetime import date

from msgspec import Struct, field

from api.call import Call, Reply
from api.csv_answer import csv_reply, json_reply, prefers_csv
from api.errors import ApiError
from api.forecast import CONFIDENCE_PERCENT, HISTORY_DAYS, Forecast, Method, Part, forecast
from api.parts import Services
from api.rfc3339 import format_instant
from api.route import Route, Stream, needs
from api.usage_times import ZoneName, local, stretches, zone_of
from domain.instant import DAY, Instant
from domain.money import MicroCredits, format_credits
from projections.credits import get_credits
from projections.local_days import day_start, local_day
from projections.subscriptions import get_subscription
from projections.usage import QUARTER
from projections.usage_sums import Question, TooMuchUsage, sum_usage

DECEMBER = 12
ASSUMPTIONS: dict[Method, str] = {
    "weekday_profile": (
        "The days go on as in the last 8 weeks: at the level of the last two weeks, each day of the week with its"
        " share, and their trend, as far as it stands out from chance, for two weeks more. The range reaches as far as"
        " days have missed such forecasts, and as far as the whole trend."
    ),
    "daily_mean": "Each day uses the mean of the days since the first one; there are too few to tell weekdays apart.",
    "pace_of_today": "Each day uses what today will have used at its pace so far; there are no days before it.",
    "none": "Nothing was used lately, and nothing will be.",
}


class ForecastQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days, and the calendar month where no subscription has a period, are those of the zone."""

    time_zone: ZoneName | None = None


class ForecastPeriod(Struct, frozen=True, kw_only=True):
    """`source` is `subscription`, or `calendar_month` where it has no period that is running."""

    from_: str = field(name="from")
    to: str
    source: str


class ForecastReport(Struct, frozen=True, kw_only=True):
    """`expected` is all that the period will have used, `used` of it by now; it lies within `low` and `high`.

    So it is meant to be in `confidence_percent` of all cases. `missing` is what the available credits are short of to
    pay for the rest that is expected.
    """

    period: ForecastPeriod
    time_zone: str
    used: str
    expected: str
    low: str
    high: str
    confidence_percent: int
    method: Method
    days: int
    """Whole days that it is made from."""
    assumption: str
    available: str
    missing: str


async def show(call: Call[None, ForecastQuery]) -> Reply:
    """The forecast of the running period; as CSV a single line."""
    report = await _report(call)
    if not prefers_csv(call.header("accept")):
        return json_reply(report)
    whole = report.period
    fields = {"from": whole.from_, "to": whole.to, "source": whole.source}
    fields |= {name: getattr(report, name) for name in ForecastReport.__struct_fields__[1:]}
    return csv_reply("forecast", tuple(fields), [tuple(fields.values())])


async def _report(call: Call[None, ForecastQuery]) -> ForecastReport:
    services, account_id, now = call.services, call.caller.account_id, call.services.clock()
    zone = await zone_of(services, account_id, call.query.time_zone)
    start, end, source = await running_period(services, account_id, zone, now)
    try:
        days, today = await _days(services, account_id, zone, now)
        used = await _used(services, account_id, start, now)
    except TooMuchUsage:
        raise ApiError("usage_too_large") from None
    ahead, elapsed = parts_ahead(zone, now, end)
    said = forecast(days, ahead, today * DAY // max(elapsed, QUARTER))
    credits = await get_credits(services.documents, services.shards, account_id)
    missing = max(said.expected - max(credits.available - credits.debt, 0), 0)
    return ForecastReport(
        period=ForecastPeriod(from_=format_instant(start), to=format_instant(end), source=source),
        time_zone=zone,
        used=format_credits(used),
        **_amounts(said, used),
        confidence_percent=CONFIDENCE_PERCENT,
        method=said.method,
        days=said.days,
        assumption=ASSUMPTIONS[said.method],
        available=format_credits(credits.available),
        missing=format_credits(missing),
    )


def _amounts(said: Forecast, used: MicroCredits) -> dict[str, str]:
    return {name: format_credits(used + getattr(said, name)) for name in ("expected", "low", "high")}


async def running_period(services: Services, account_id: str, zone: str, now: Instant) -> tuple[Instant, Instant, str]:
    """The subscription's period if `now` lies in it, else the calendar month of the zone."""
    view = await get_subscription(services.documents, services.shards, account_id)
    begun, ends = view.period_start, view.period_end
    if begun is not None and ends is not None and begun <= now < ends:
        return begun, ends, "subscription"
    today = local(zone, now).date()
    first = today.replace(day=1)
    after = date(first.year + first.month // DECEMBER, first.month % DECEMBER + 1, 1)
    return max(day_start(zone, first), 0), day_start(zone, after), "calendar_month"


async def _days(
    services: Services, account_id: str, zone: str, now: Instant
) -> tuple[list[MicroCredits], MicroCredits]:
    """What was used on each of the last whole days, and today so far."""
    cut = stretches("day", zone, max(now - (HISTORY_DAYS + 1) * DAY, 0), now + 1)
    question = Question(account_id=account_id, start=cut.times[0], end=_ceiled(now), times=cut.times)
    sums = await sum_usage(services.documents, services.shards, question)
    used = {each.time: each.figure("cost") for each in sums}
    *days, today = (used.get(number, 0) for number in range(len(cut.times)))
    return days, today


async def _used(services: Services, account_id: str, start: Instant, now: Instant) -> MicroCredits:
    """In the period by now; the quarter of an hour in which it began counts whole."""
    question = Question(account_id=account_id, start=start - start % QUARTER, end=_ceiled(now))
    sums = await sum_usage(services.documents, services.shards, question)
    return sum(each.figure("cost") for each in sums)


def _ceiled(at: Instant) -> Instant:
    return at + QUARTER - at % QUARTER


def parts_ahead(zone: str, now: Instant, end: Instant) -> tuple[list[Part], Instant]:
    """How much of today and of each day after it lies before `end`; and how long today has lasted."""
    today = local_day(zone, now)
    parts, at = [], now
    while at < end:
        day = local_day(zone, at)
        parts.append((min(day.end, end) - at, day.end - day.start))
        at = day.end
    return parts, now - today.start


ROUTES = (
    Route(
        method="GET",
        path="/billing/usage/forecast",
        handler=show,
        summary="Forecast usage",
        description=(
            "What will have been used at the end of the subscription's period, or of the calendar month, with its"
            " range, its method and what that assumes. CSV with `Accept: text/csv`."
        ),
        tag="billing",
        access=needs("billing:read"),
        query=ForecastQuery,
        answers={200: (ForecastReport, Stream(media_type="text/csv", description="One line."))},
        errors=("invalid_time_zone", "usage_too_large"),
    ),
)
