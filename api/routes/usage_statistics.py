"""How requests went: how many failed, how long they took, how many tokens they had, in the middle and at the edge."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field, structs

from api.call import Call, Reply
from api.csv_answer import csv_reply, json_reply, prefers_csv
from api.errors import ApiError
from api.rfc3339 import format_instant
from api.route import Route, Stream, needs
from api.usage_report import UsageSums, figures
from api.usage_times import LAST, PeriodQuery, period, zone_of
from domain.instant import DAY, Instant
from domain.money import MicroCredits, format_credits
from projections.usage import BLOCK, FIGURES, NO_FIGURES, Figures
from projections.usage_days import UsageDay
from projections.usage_histogram import ERROR_PERCENT, add_parts, percentiles
from projections.usage_sums import Question, TooMuchUsage, read_days, sum_usage

PERCENTS = (50, 95, 99)
CSV_LINES = "A line for all requests, whose model is empty, and one for each model."


class Percentiles(Struct, frozen=True, kw_only=True):
    """What half of the requests, 95 and 99 in a hundred did not exceed; null where there were none."""

    p50: int | None
    p95: int | None
    p99: int | None


class Means(Struct, frozen=True, kw_only=True):
    """Of a request that delivered something, rounded down; null where there was none."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    latency_ms: int | None
    cost: str | None


class Statistics(Struct, frozen=True, kw_only=True):
    """`error_rate` is the share of all requests that ended without having delivered anything; null without any.

    A decimal with six places, 0 to 1.
    """

    totals: UsageSums
    error_rate: str | None
    mean: Means
    latency_ms: Percentiles
    tokens: Percentiles


class ModelStatistics(Statistics, frozen=True, kw_only=True):
    """The same of one model."""

    model: str


class Accuracy(Struct, frozen=True, kw_only=True):
    """What percentiles are of: whole quarters of a UTC day, and how far they may be from the true ones."""

    from_: str = field(name="from")
    to: str
    error_percent: int


class StatisticsReport(Statistics, frozen=True, kw_only=True):
    """Of a period, which is widened to whole quarters of an hour, in all and by model."""

    from_: str = field(name="from")
    to: str
    time_zone: str
    percentiles: Accuracy
    models: list[ModelStatistics]


class _Counts(Struct, kw_only=True):
    """What is known of some requests."""

    figures: Figures = NO_FIGURES
    latencies: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)

    def add(self, day: UsageDay, parts: range) -> None:
        """Counts a day's histograms in."""
        add_parts(self.latencies, day.latencies, parts)
        add_parts(self.tokens, day.tokens, parts)


async def show(call: Call[None, PeriodQuery]) -> Reply:
    """Statistics of the account's requests; as CSV a line for all of them, and one for each model."""
    report = await _report(call)
    if not prefers_csv(call.header("accept")):
        return json_reply(report)
    lines = [_line("", report), *(_line(each.model, each) for each in report.models)]
    return csv_reply("statistics", tuple(lines[0]), (tuple(line.values()) for line in lines))


def _line(model: str, statistics: Statistics) -> dict[str, Any]:
    """The figures of one line, by the names of their columns: `mean_cost`, `tokens_p95`."""
    line = {"model": model, **structs.asdict(statistics.totals), "error_rate": statistics.error_rate}
    for name in ("mean", "latency_ms", "tokens"):
        part: Means | Percentiles = getattr(statistics, name)
        line |= {f"{name}_{field}": value for field, value in structs.asdict(part).items()}
    return line


async def _report(call: Call[None, PeriodQuery]) -> StatisticsReport:
    services, query, account_id = call.services, call.query, call.caller.account_id
    zone = await zone_of(services, account_id, query.time_zone)
    start, end = period(query.from_, query.to, services.clock(), zone)
    question = Question(account_id=account_id, start=start, end=end, dimensions=("model",))
    first, last = start - start % BLOCK, min(-(-end // BLOCK) * BLOCK, LAST)
    try:
        sums = await sum_usage(services.documents, services.shards, question)
        days = await read_days(services.documents, services.shards, account_id, first, last)
    except TooMuchUsage:
        raise ApiError("usage_too_large") from None
    models = {each.values[0] or "": _Counts(figures=each.figures) for each in sums}
    everything = _Counts(figures=_added(each.figures for each in sums))
    for day in days:
        parts = _parts(day, first, last)
        everything.add(day, parts)
        if day.model in models:
            models[day.model].add(day, parts)
    return StatisticsReport(
        from_=format_instant(start),
        to=format_instant(end),
        time_zone=zone,
        percentiles=Accuracy(from_=format_instant(first), to=format_instant(last), error_percent=ERROR_PERCENT),
        models=[ModelStatistics(model=model, **_shown(models[model])) for model in sorted(models)],
        **_shown(everything),
    )


def _parts(day: UsageDay, first: Instant, last: Instant) -> range:
    """The quarters of the day that lie in the period."""
    return range(max(first - day.start, 0) // BLOCK, -(-min(last - day.start, DAY) // BLOCK))


def _added(every: Iterable[Figures]) -> Figures:
    return tuple(map(sum, zip(*every, strict=True))) or NO_FIGURES


def _shown(counts: _Counts) -> dict[str, Any]:
    """Its fields as clients see them."""
    totals = UsageSums(**figures(counts.figures))
    ended = totals.requests + totals.failed
    return {
        "totals": totals,
        "error_rate": _share(totals.failed, ended) if ended else None,
        "mean": _means(totals, counts.figures[FIGURES.index("cost")]),
        "latency_ms": _percentiles(counts.latencies),
        "tokens": _percentiles(counts.tokens),
    }


def _share(part: int, whole: int) -> str:
    """With six places, rounded down."""
    ones, millionths = divmod(part * 1_000_000 // whole, 1_000_000)
    return f"{ones}.{millionths:06d}"


def _means(totals: UsageSums, cost: MicroCredits) -> Means:
    requests = totals.requests
    if not requests:
        return Means(input_tokens=None, output_tokens=None, total_tokens=None, latency_ms=None, cost=None)
    came_out = totals.output_tokens + totals.reasoning_tokens + totals.audio_output_tokens
    return Means(
        input_tokens=(totals.total_tokens - came_out) // requests,
        output_tokens=came_out // requests,
        total_tokens=totals.total_tokens // requests,
        latency_ms=totals.latency_ms_mean,
        cost=format_credits(cost // requests),
    )


def _percentiles(counts: dict[int, int]) -> Percentiles:
    half, most, nearly_all = percentiles(counts, PERCENTS)
    return Percentiles(p50=half, p95=most, p99=nearly_all)


ROUTES = (
    Route(
        method="GET",
        path="/billing/usage/statistics",
        handler=show,
        summary="Show usage statistics",
        description=(
            "Totals, means, the error rate, and percentiles of latency and tokens, in all and by model. Percentiles are"
            " of whole quarters of a UTC day, and within `error_percent` of the true ones. CSV with `Accept: text/csv`."
        ),
        tag="billing",
        access=needs("billing:read"),
        query=PeriodQuery,
        answers={200: (StatisticsReport, Stream(media_type="text/csv", description=CSV_LINES))},
        errors=("invalid_period", "invalid_time_zone", "usage_too_large"),
    ),
)
