"""What one API key has used: `GET /api-keys/{id}/usage`, the account's usage narrowed to the key."""

from msgspec import Struct, field

from api.call import Call, Reply
from api.route import Route, needs
from api.routes.api_keys import own_key
from api.routes.usage import CSV
from api.usage_report import GroupByOfKey, UsageReport, answer, asked
from api.usage_times import Moment, ZoneName


class ApiKeyUsageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`from` is included, `to` is not; without them the last 30 days up to now."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    group_by: GroupByOfKey = "model"
    time_zone: ZoneName | None = None


async def show_usage(call: Call[None, ApiKeyUsageQuery]) -> Reply:
    """Totals and groups of the key's usage, of a revoked key too."""
    query = call.query
    view = await own_key(call)
    wanted = await asked(
        call,
        from_=query.from_,
        to=query.to,
        group_by=query.group_by,
        time_zone=query.time_zone,
        account_id=view.account_id,
        key_id=view.id,
    )
    return await answer(call, wanted)


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
