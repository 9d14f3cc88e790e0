"""What happened to an API key: `GET /api-keys/{id}/events`."""

from typing import Literal

from msgspec import Struct

from api.api_key_shown import KeyLimitsShown, limits_shown
from api.call import Call
from api.errors import declare
from api.origin import Origin, open_origin
from api.pagination import PageQuery, list_fields
from api.rfc3339 import format_instant, maybe_instant
from api.route import Route, needs
from api.routes.api_keys import own_key
from projections.api_key_events import ApiKeyEvent, Kind, list_api_key_events

declare(
    "invalid_minute",
    "invalid",
    "A report of a key's use names no minute that has come.",
    "Report the request id to the operator: the fault is ours.",
)
declare(
    "invalid_count",
    "invalid",
    "A report of a key's use is out of range.",
    "Report the request id to the operator: the fault is ours.",
)


class ApiKeyEventShown(Struct, frozen=True, kw_only=True):
    """An event. `actor_key_id` is the key through which it was done; the address is null once its user is erased.

    Of kind `used` each stands for a minute: so many `requests` were let through and so many `refused` for a limit, the
    last of them at `created_at` from that address. `old_secret_expires_at` is told by a rotation.
    """

    id: str
    kind: Kind
    created_at: str
    actor_id: str
    actor_key_id: str | None
    address: str | None
    user_agent: str | None
    name: str | None
    scopes: list[str] | None
    limits: KeyLimitsShown | None
    old_secret_expires_at: str | None
    requests: int | None
    refused: int | None


class ApiKeyEventList(Struct, frozen=True, kw_only=True):
    """A page of events, newest first."""

    object: Literal["list"] = "list"
    data: list[ApiKeyEventShown]
    has_more: bool
    next_cursor: str | None


async def list_all(call: Call[None, PageQuery]) -> ApiKeyEventList:
    """Creation, changes, rotations, uses and end of one of the account's keys: who, through which key, from where."""
    services, query = call.services, call.query
    view = await own_key(call)
    page = await list_api_key_events(
        services.documents, services.shards, view.account_id, view.id, limit=query.limit, after=query.after()
    )
    origins = {event.id: await open_origin(services, event.actor) for event in page.items}
    return ApiKeyEventList(**list_fields(page, lambda event: _shown(event, origins[event.id])))


def _shown(event: ApiKeyEvent, origin: Origin) -> ApiKeyEventShown:
    return ApiKeyEventShown(
        id=event.id,
        kind=event.kind,
        created_at=format_instant(event.at),
        actor_id=event.actor.id,
        actor_key_id=event.actor.key_id,
        address=origin.address,
        user_agent=origin.user_agent,
        name=event.name,
        scopes=None if event.scopes is None else list(event.scopes),
        limits=None if event.limits is None else limits_shown(event.limits),
        old_secret_expires_at=maybe_instant(event.old_until),
        requests=event.count if event.kind == "used" else None,
        refused=event.refused if event.kind == "used" else None,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api-keys/{id}/events",
        handler=list_all,
        summary="List an API key's events",
        tag="api keys",
        access=needs("api_keys:read", project=True),
        query=PageQuery,
        answers={200: ApiKeyEventList},
        errors=("api_key_not_found", "invalid_cursor"),
        path_examples={"id": "key_00000000000000000000000000000000"},
    ),
)
