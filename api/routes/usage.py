"""What an account has used: totals of a period, and groups of them."""

from api.call import Call, Reply
from api.route import Route, Stream, needs
from api.usage_report import GroupBy, UsageReport, answer, asked
from api.usage_times import PeriodQuery

CSV = Stream(media_type="text/csv", description="One line for each group.")


class UsageQuery(PeriodQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A period of the account's usage, and what to tell apart in it."""

    group_by: GroupBy = "model"


async def show_usage(call: Call[None, UsageQuery]) -> Reply:
    """Totals and groups of the account's usage."""
    return await answer(call, await asked(call, call.query.group_by, call.caller.account_id))


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
