"""How credits came and went, day by day: granted, used, run out, taken back, and what was owed at the day's end."""

from bisect import bisect_right
from collections.abc import Sequence

from msgspec import Struct, field

from api.call import Call, Reply
from api.csv_answer import csv_reply, json_reply, prefers_csv
from api.errors import ApiError
from api.rfc3339 import format_instant
from api.route import Route, Stream, needs
from api.usage_times import PeriodQuery, Stretches, period, stretches, zone_of
from domain.instant import Instant
from domain.money import MicroCredits, format_credits
from projections.credit_days import FLOWS, Flow, list_flows
from projections.usage_sums import Question, TooMuchUsage, UsageSum, sum_usage


class CreditsOfDay(Struct, frozen=True, kw_only=True):
    """`used` is the cost of what ended on the day, whether it was paid or owed; `debt` is what was owed at its end."""

    day: str
    granted: str
    given_back: str
    used: str
    expired: str
    taken_back: str
    debt: str


class HistoryReport(Struct, frozen=True, kw_only=True):
    """Every day of a period in order, also those on which nothing happened. The period is widened to quarter hours."""

    from_: str = field(name="from")
    to: str
    time_zone: str
    data: list[CreditsOfDay]


async def show(call: Call[None, PeriodQuery]) -> Reply:
    """The account's credits by day."""
    services, query, account_id = call.services, call.query, call.caller.account_id
    zone = await zone_of(services, account_id, query.time_zone)
    start, end = period(query.from_, query.to, services.clock(), zone)
    cut = stretches("day", zone, start, end)
    question = Question(account_id=account_id, start=start, end=end, times=cut.times)
    try:
        sums = await sum_usage(services.documents, services.shards, question)
    except TooMuchUsage:
        raise ApiError("usage_too_large") from None
    debt, flows = await list_flows(services.documents, services.shards, account_id, start, end)
    days = by_day(cut, sums, debt, flows)
    if prefers_csv(call.header("accept")):
        names = CreditsOfDay.__struct_fields__
        return csv_reply("credits", names, ([getattr(day, name) for name in names] for day in days))
    return json_reply(HistoryReport(from_=format_instant(start), to=format_instant(end), time_zone=zone, data=days))


def by_day(cut: Stretches, sums: Sequence[UsageSum], debt: MicroCredits, flows: Sequence[Flow]) -> list[CreditsOfDay]:
    """What was used, and what else happened, put together."""
    used = {each.time: each.figure("cost") for each in sums}
    totals: list[dict[str, MicroCredits]] = [dict.fromkeys(FLOWS, 0) for _ in cut.times]
    owed: dict[int, MicroCredits] = {}
    for flow in flows:
        number = _number(cut.times, flow.at)
        owed[number] = flow.debt
        for name in FLOWS:
            totals[number][name] += getattr(flow, name)
    days = []
    for number, day in enumerate(cut.labels):
        debt = owed.get(number, debt)
        flow_texts = {name: format_credits(amount) for name, amount in totals[number].items()}
        days.append(
            CreditsOfDay(day=day, used=format_credits(used.get(number, 0)), debt=format_credits(debt), **flow_texts)
        )
    return days


def _number(times: Sequence[Instant], at: Instant) -> int:
    return bisect_right(times, at) - 1


ROUTES = (
    Route(
        method="GET",
        path="/billing/usage/history",
        handler=show,
        summary="Show usage history",
        description=(
            "What was granted, given back, used, expired and taken back on each day in the account's time zone, and the"
            " debt at its end. CSV with `Accept: text/csv`."
        ),
        tag="billing",
        access=needs("billing:read"),
        query=PeriodQuery,
        answers={200: (HistoryReport, Stream(media_type="text/csv", description="One line for each day."))},
        errors=("invalid_period", "invalid_time_zone", "usage_too_large"),
    ),
)
