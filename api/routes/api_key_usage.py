"""What one API key has used: `GET /api-keys/{id}/usage`, the account's usage narrowed to the key."""

from typing import Literal

from msgspec import Struct, field

from api.call import Call
from api.route import Route, needs
from api.routes.api_keys import own_key
from api.routes.usage import Moment, UsageReport, period, report
from projections.usage_days import usage_between


class ApiKeyUsageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`from` is included, `to` is not; without them the last 30 days up to now."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    group_by: Literal["model", "day"] = "model"


async def show_usage(call: Call[None, ApiKeyUsageQuery]) -> UsageReport:
    """Totals and groups of the key's usage, of a revoked key too."""
    services, query = call.services, call.query
    view = await own_key(call)
    start, end = period(query.from_, query.to, services.clock())
    buckets = await usage_between(services.documents, services.shards, view.account_id, start, end)
    return report([each for each in buckets if each.key_id == view.id], query.group_by, start, end)


ROUTES = (
    Route(
        method="GET",
        path="/api-keys/{id}/usage",
        handler=show_usage,
        summary="Show an API key's usage",
        description="Totals of a period and groups by model or day (UTC).",
        tag="api keys",
        access=needs("api_keys:read", project=True),
        query=ApiKeyUsageQuery,
        answers={200: UsageReport},
        errors=("api_key_not_found", "invalid_period"),
        path_examples={"id": "key_00000000000000000000000000000000"},
    ),
)
