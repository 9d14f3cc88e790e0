"""Usage as clients see it: totals of a period and groups of them, as JSON or CSV."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias, get_args

from msgspec import Meta, Struct, field

from api.call import Call, Reply
from api.csv_answer import csv_reply, json_reply, prefers_csv
from api.errors import ApiError, declare
from api.rfc3339 import format_instant
from api.usage_times import PeriodQuery, Stretches, Unit, period, stretches, zone_of
from domain.instant import Instant
from domain.money import format_credits
from projections.usage import FIGURES, TOKENS
from projections.usage_sums import Dimension, Question, TooMuchUsage, UsageSum, sum_usage

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
UNITS: tuple[Unit, ...] = get_args(Unit)
_TOKENS = tuple(f"{kind}_tokens" for kind in TOKENS)


def _words(words: Iterable[str]) -> Meta:
    """Describes a list of such words."""
    word = "|".join(words)
    return Meta(
        max_length=80,
        description="One or several, separated by commas, such as `model,day`; at most one stretch of time.",
        # Checked by `asked`, which names the words; a decoder would show the expression.
        extra_json_schema={"pattern": rf"^({word})(,({word}))*$"},
    )


DIMENSIONS_OF_KEY: tuple[Dimension, ...] = ("model", "operation", "agent")
"""What the usage of one key can differ in."""
GroupBy: TypeAlias = Annotated[str, _words((*DIMENSIONS, *UNITS))]
GroupByOfKey: TypeAlias = Annotated[str, _words((*DIMENSIONS_OF_KEY, *UNITS))]

declare(
    "usage_too_large",
    "invalid",
    "The answer would have more than 10000 groups, or be summed from too many buckets.",
    "Ask for a shorter period, or group by less; by `model` and times alone a year can always be asked for.",
)


class UsageSums(Struct, frozen=True, kw_only=True):
    """Sums over requests. The kinds of tokens do not overlap; `estimated` counts requests that we had to count.

    `failed` are requests that ended without having delivered anything; `requests` does not count them.
    """

    requests: int
    failed: int
    estimated: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    total_tokens: int
    cost: str
    latency_ms_mean: int | None


class UsageGroup(UsageSums, frozen=True, kw_only=True):
    """`by` has a value for each word of `group_by`; `group` is the first of them.

    A model's name, a key's, project's, user's or agent's id (null without one), an operation, a day such as
    `2026-11-22`, or when an hour or a quarter of one began.
    """

    group: str | None
    by: dict[str, str | None]


class UsageReport(Struct, frozen=True, kw_only=True):
    """Usage of a period, which is widened to whole quarters of an hour: `from` and `to` say to which."""

    from_: str = field(name="from")
    to: str
    time_zone: str
    group_by: str
    totals: UsageSums
    groups: list[UsageGroup]


class Asked(Struct, frozen=True, kw_only=True):
    """What a request wants to know, understood."""

    account_id: str
    zone: str
    start: Instant
    end: Instant
    words: tuple[str, ...]
    """Of `group_by`."""
    cut: Stretches
    key_id: str | None = None

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Those of the words that are no stretch of time."""
        return tuple(sorted((each for each in DIMENSIONS if each in self.words), key=self.words.index))


async def asked(call: Call[Any, Any], group_by: str, account_id: str, *, key_id: str | None = None) -> Asked:
    """The question in a query. 400 `invalid_period`, `invalid_time_zone` or `invalid_parameter`."""
    query: PeriodQuery = call.query
    zone = await zone_of(call.services, account_id, query.time_zone)
    start, end = period(query.from_, query.to, call.services.clock(), zone)
    words = tuple(group_by.split(","))
    units = [unit for unit in UNITS if unit in words]
    known = DIMENSIONS if key_id is None else DIMENSIONS_OF_KEY
    if len(set(words) & {*known, *UNITS}) < len(words) or len(units) > 1:
        message = f"group_by is one or several of {', '.join(known)}, and at most one of {', '.join(UNITS)}"
        raise ApiError("invalid_parameter", f"{message}; each once, separated by commas.", param="group_by")
    cut = stretches(units[0] if units else None, zone, start, end)
    return Asked(account_id=account_id, zone=zone, start=start, end=end, words=words, cut=cut, key_id=key_id)


async def sums_of(call: Call[Any, Any], wanted: Asked) -> list[UsageSum]:
    """The sums that were asked for. 400 `usage_too_large`."""
    question = Question(
        account_id=wanted.account_id,
        start=wanted.start,
        end=wanted.end,
        dimensions=wanted.dimensions,
        times=wanted.cut.times,
        key_id=wanted.key_id,
    )
    try:
        return await sum_usage(call.services.documents, call.services.shards, question)
    except TooMuchUsage:
        raise ApiError("usage_too_large") from None


async def answer(call: Call[Any, Any], wanted: Asked) -> Reply:
    """The report, as the client prefers it."""
    sums = await sums_of(call, wanted)
    if prefers_csv(call.header("accept")):
        rows = ([*_values(wanted, each).values(), *figures(each.figures).values()] for each in sums)
        return csv_reply("usage", (*wanted.words, *UsageSums.__struct_fields__), rows)
    totals = tuple(map(sum, zip(*(each.figures for each in sums), strict=True))) or (0,) * len(FIGURES)
    report = UsageReport(
        from_=format_instant(wanted.start),
        to=format_instant(wanted.end),
        time_zone=wanted.zone,
        group_by=",".join(wanted.words),
        totals=UsageSums(**figures(totals)),
        groups=[_group(wanted, each) for each in sums],
    )
    return json_reply(report)


def _group(wanted: Asked, each: UsageSum) -> UsageGroup:
    by = _values(wanted, each)
    return UsageGroup(group=by[wanted.words[0]], by=by, **figures(each.figures))


def _values(wanted: Asked, each: UsageSum) -> dict[str, str | None]:
    known: dict[str, str | None] = dict(zip(wanted.dimensions, each.values, strict=True))
    label = wanted.cut.labels[each.time]
    return {word: known.get(word, label) for word in wanted.words}


def figures(sums: tuple[int, ...]) -> dict[str, Any]:
    """Sums, in the order of `FIGURES`, by the names that clients know them by."""
    requests, failed, estimated, *tokens, cost, latency_ms = sums
    return {
        "requests": requests,
        "failed": failed,
        "estimated": estimated,
        **dict(zip(_TOKENS, tokens, strict=True)),
        "total_tokens": sum(tokens),
        "cost": format_credits(cost),
        "latency_ms_mean": latency_ms // requests if requests else None,
    }
