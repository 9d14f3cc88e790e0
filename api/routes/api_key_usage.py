"""What one API key has used: `GET /api-keys/{id}/usage`, the account's usage narrowed to the key."""

from api.call import Call, Reply
from api.route import Route, needs
from api.routes.api_keys import own_key
from api.routes.usage import CSV
from api.usage_report import GroupByOfKey, UsageReport, answer, asked
from api.usage_times import PeriodQuery


class ApiKeyUsageQuery(PeriodQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A period of the key's usage, and what to tell apart in it."""

    group_by: GroupByOfKey = "model"


async def show_usage(call: Call[None, ApiKeyUsageQuery]) -> Reply:
    """Totals and groups of the key's usage, of a revoked key too."""
    view = await own_key(call)
    return await answer(call, await asked(call, call.query.group_by, view.account_id, key_id=view.id))


ROUTES = (
    Route(
        method="GET",
        path="/api-keys/{id}/usage",
        handler=show_usage,
        summary="Show an API key's usage",
        description=(
            "Totals of a period and groups by model, operation, agent, and by hour, day or quarter of an hour in the"
            " account's time zone. CSV with `Accept: text/csv`."
        ),
        tag="api keys",
        access=needs("api_keys:read", project=True),
        query=ApiKeyUsageQuery,
        answers={200: (UsageReport, CSV)},
        errors=("api_key_not_found", "invalid_period", "invalid_time_zone", "usage_too_large"),
        path_examples={"id": "key_00000000000000000000000000000000"},
    ),
)
