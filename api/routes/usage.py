"""What an account has used: totals of a period, and groups of them."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from api.call import Call
from api.errors import ApiError, declare
from api.rfc3339 import INSTANT_MAX, format_instant, parse_instant
from api.route import Route, needs
from domain.instant import DAY, Instant
from domain.money import format_credits
from projections.usage import QUARTER, Grouping, UsageBucket, UsageSum, sum_usage
from projections.usage_days import usage_between

PERIOD_DEFAULT: Instant = 30 * DAY
PERIOD_MAX: Instant = 366 * DAY
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

declare(
    "invalid_period",
    "invalid",
    "The period is wrong.",
    "`from` and `to` are RFC 3339 times or dates, `from` before `to`, at most 366 days apart.",
)

Moment = Annotated[
    str,
    Meta(
        description="An RFC 3339 time, or a date, which stands for its beginning in UTC.",
        extra_json_schema={"anyOf": [{"format": "date-time"}, {"format": "date"}]},
    ),
]


class UsageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`from` is included, `to` is not; without them the last 30 days up to now."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    group_by: Grouping = "model"


class UsageSums(Struct, frozen=True, kw_only=True):
    """Sums over requests. The kinds of tokens do not overlap; `estimated` counts requests that we had to count."""

    requests: int
    estimated: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cost: str
    latency_ms_mean: int | None


class UsageGroup(UsageSums, frozen=True, kw_only=True):
    """`group` is the model's name, the API key's id (null without a key), or the day such as `2026-11-22`."""

    group: str | None


class UsageReport(Struct, frozen=True, kw_only=True):
    """Usage of a period, which is widened to whole quarters of an hour: `from` and `to` say to which."""

    from_: str = field(name="from")
    to: str
    group_by: Grouping
    totals: UsageSums
    groups: list[UsageGroup]


async def show_usage(call: Call[None, UsageQuery]) -> UsageReport:
    """Totals and groups of the account's usage."""
    services, query = call.services, call.query
    start, end = period(query.from_, query.to, services.clock())
    buckets = await usage_between(services.documents, services.shards, call.caller.account_id, start, end)
    return report(buckets, query.group_by, start, end)


def report(buckets: Iterable[UsageBucket], group_by: Grouping, start: Instant, end: Instant) -> UsageReport:
    """Totals and groups of buckets that lie between `start` and `end`."""
    total, groups = sum_usage(buckets, group_by)
    return UsageReport(
        from_=format_instant(start),
        to=format_instant(end),
        group_by=group_by,
        totals=UsageSums(**_figures(total)),
        groups=[UsageGroup(group=_name(each.group, group_by), **_figures(each)) for each in groups],
    )


def period(from_: str | None, to: str | None, now: Instant) -> tuple[Instant, Instant]:
    """Beginning and end of what was asked for, widened to quarters of an hour. 400 `invalid_period`."""
    end = now if to is None else _moment(to, "to")
    start = end - PERIOD_DEFAULT if from_ is None else _moment(from_, "from")
    if start >= end:
        raise ApiError("invalid_period", "from must lie before to.", param="from")
    if end - start > PERIOD_MAX:
        raise ApiError("invalid_period", "A period can be at most 366 days long.", param="from")
    last = INSTANT_MAX - INSTANT_MAX % QUARTER
    return max(start - start % QUARTER, 0), min(-(-end // QUARTER) * QUARTER, last)


def _moment(text: str, name: str) -> Instant:
    if _DATE.fullmatch(text):
        text += "T00:00:00Z"
    return parse_instant(text, name=name, code="invalid_period")


def _figures(total: UsageSum) -> dict[str, Any]:
    return {
        "requests": total.requests,
        "estimated": total.estimated,
        "input_tokens": total.input,
        "cached_tokens": total.cached,
        "cache_write_tokens": total.cache_write,
        "output_tokens": total.output,
        "reasoning_tokens": total.reasoning,
        "total_tokens": total.input + total.cached + total.cache_write + total.output + total.reasoning,
        "cost": format_credits(total.cost),
        "latency_ms_mean": total.latency_ms // total.requests if total.requests else None,
    }


def _name(group: str, group_by: Grouping) -> str | None:
    if group_by == "day":
        return format_instant(int(group))[:10]
    return group or None


ROUTES = (
    Route(
        method="GET",
        path="/billing/usage",
        handler=show_usage,
        summary="Show usage",
        description="Totals of a period and groups by model, API key or day (UTC).",
        tag="billing",
        access=needs("billing:read"),
        query=UsageQuery,
        answers={200: UsageReport},
        errors=("invalid_period",),
    ),
)
