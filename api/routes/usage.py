"""What an account has used: totals of a period, and groups of them."""

from msgspec import Struct, field

from api.call import Call, Reply
from api.route import Route, Stream, needs
from api.usage_report import GroupBy, UsageReport, answer, asked
from api.usage_times import Moment, ZoneName

CSV = Stream(media_type="text/csv", description="One line for each group.")


class UsageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`from` is included, `to` is not; without them the last 30 days up to now."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    group_by: GroupBy = "model"
    time_zone: ZoneName | None = None


async def show_usage(call: Call[None, UsageQuery]) -> Reply:
    """Totals and groups of the account's usage."""
    query = call.query
    wanted = await asked(
        call,
        from_=query.from_,
        to=query.to,
        group_by=query.group_by,
        time_zone=query.time_zone,
        account_id=call.caller.account_id,
    )
    return await answer(call, wanted)


ROUTES = (
    Route(
        method="GET",
        path="/billing/usage",
        handler=show_usage,
        summary="Show usage",
        description=(
            "Totals of a period and groups by model, API key, project, user, operation, agent, and by hour, day or"
            " quarter of an hour in the account's time zone. CSV with `Accept: text/csv`."
        ),
        tag="billing",
        access=needs("billing:read"),
        query=UsageQuery,
        answers={200: (UsageReport, CSV)},
        errors=("invalid_period", "invalid_time_zone", "usage_too_large"),
    ),
)
