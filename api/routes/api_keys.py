"""API keys: made, listed, changed, revoked. The key itself is shown once, in the answer that made it."""

import re
from typing import Any

from msgspec.structs import replace

from api.account_plan import plan_of
from api.api_key_shown import ApiKeyChange, ApiKeyList, ApiKeyMade, ApiKeyShown, NewApiKey, shown
from api.call import Call
from api.commands import data_of
from api.errors import ApiError, declare
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.plain_text import is_plain
from api.rfc3339 import format_instant, maybe_instant, parse_instant
from api.route import Route, needs
from api.scopes import requested
from domain.account.api_keys import CreateApiKey, RevokeApiKey, UpdateApiKey
from domain.instant import Instant
from projections.api_keys import ApiKeyView, find_api_key, list_api_keys

WARNING = "Store this key now: it is shown only once and cannot be recovered."
WARNING_GONE = "This key was shown in the first answer; more than 24 hours later it cannot be shown again."
_KEY_ID = re.compile(r"key_[0-9a-f]{32}", re.ASCII)
_EXAMPLE_ID = {"id": "key_00000000000000000000000000000000"}

declare("api_key_not_found", "not_found", "There is no such API key.", "List the keys with GET /api-keys.")
declare("api_key_revoked", "conflict", "The API key was revoked and cannot be changed.", "Create a new key.")
declare(
    "api_key_limit",
    "forbidden",
    "The plan allows no more API keys.",
    "Revoke a key that is not used any more; `limit` is the plan's number.",
)
declare(
    "mode_exceeded",
    "forbidden",
    "A key of mode test cannot make a key of mode live.",
    "Use a live key or a login token, or ask for mode test.",
)
declare(
    "expiry_exceeded",
    "forbidden",
    "A key that expires cannot make one that outlives it.",
    "Send an expires_at no later than the key's own, or use a login token.",
)
declare("invalid_name", "invalid", "The name is empty or holds control characters.", "Send 1 to 100 characters.")


async def create(call: Call[NewApiKey, None]) -> ApiKeyMade:
    """Makes a key; a repeat under one `Idempotency-Key` answers the same key while its outcome still holds it."""
    body, services, caller = call.body, call.services, call.caller
    _check_name(body.name)
    scopes = requested(body.scopes, caller.scopes)
    if caller.mode == "test" and body.mode != "test":
        raise ApiError("mode_exceeded", param="mode")
    expires_at = _expiry(body.expires_at)
    if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):
        raise ApiError("expiry_exceeded", param="expires_at")
    draft = call.draft(f"account:{caller.account_id}")
    key_id = draft.new_id("key")
    subject, place = f"account:{caller.account_id}", f"api_key {key_id}"
    made = services.identities.keys.make(key_id, body.mode)
    outcome = await draft.submit(
        CreateApiKey(
            key_id=key_id,
            name=body.name,
            scopes=scopes,
            mode=body.mode,
            digest=made.digest,
            hint=made.hint,
            created_by=caller.user_id,
            keys_max=(await plan_of(services, caller.account_id)).api_keys,
            secret_sealed=await services.sealer.seal(subject, place, made.text.encode()),
            expires_at=expires_at,
        )
    )
    # Not `made`: another attempt under this command id may have won, and its key is the one that works.
    key = None if outcome.secret is None else (await services.sealer.open(subject, place, outcome.secret)).decode()
    return ApiKeyMade(
        id=key_id,
        key=key,
        name=body.name,
        scopes=list(scopes),
        mode=body.mode,
        created_at=format_instant(outcome.at),
        expires_at=maybe_instant(expires_at),
        warning=WARNING if key else WARNING_GONE,
    )


async def list_all(call: Call[None, PageQuery]) -> ApiKeyList:
    """The account's keys, revoked ones too."""
    services, query = call.services, call.query
    page = await list_api_keys(
        services.documents, services.shards, call.caller.account_id, limit=query.limit, after=query.after()
    )
    now = services.clock()
    return ApiKeyList(**list_fields(page, lambda view: shown(view, now)))


async def show(call: Call[None, None]) -> ApiKeyShown:
    """One key of the account."""
    return shown(await own_key(call), call.services.clock())


async def change(call: Call[ApiKeyChange, None]) -> ApiKeyShown:
    """Changes name or scopes."""
    body, services = call.body, call.services
    view = await own_key(call)
    if body.name is not None:
        _check_name(body.name)
    scopes = None if body.scopes is None else requested(body.scopes, call.caller.scopes)
    draft = call.draft(f"account:{view.account_id}")
    outcome = await draft.submit(UpdateApiKey(key_id=view.id, name=body.name, scopes=scopes))
    services.identities.cache.stamped((view.id,))
    # As it was after this change: a repeat answers the same, whatever has become of the key since.
    data = data_of(outcome)
    return shown(replace(view, name=data["name"], scopes=data["scopes"], revoked_at=None), outcome.at)


async def revoke(call: Call[None, None]) -> ApiKeyShown:
    """Ends a key for good; of a revoked key it changes nothing and answers the same."""
    services = call.services
    view = await own_key(call)
    await call.draft(f"account:{view.account_id}").submit(RevokeApiKey(key_id=view.id))
    # Other processes see the stamp within a second; this one forgets the key now.
    services.identities.cache.stamped((view.id,))
    return shown(await _found(services, view.id), services.clock())


async def own_key(call: Call[Any, Any]) -> ApiKeyView:
    """The key of the path, if it is of the caller's account: 404 `api_key_not_found` for any other."""
    view = await _found(call.services, call.path["id"])
    if view.account_id != call.caller.account_id:
        raise ApiError("api_key_not_found")
    return view


async def _found(services: Services, key_id: str) -> ApiKeyView:
    view = await find_api_key(services.documents, key_id) if _KEY_ID.fullmatch(key_id) else None
    if view is None:
        raise ApiError("api_key_not_found")
    return view


def _check_name(name: str) -> None:
    if not is_plain(name):
        raise ApiError("invalid_name", param="name")


def _expiry(text: str | None) -> Instant | None:
    """Whether it lies in the future is for the worker to decide, by the clock that is recorded."""
    return None if text is None else parse_instant(text, name="expires_at", code="invalid_expiry")


_CREATE = Route(
    method="POST",
    path="/api-keys",
    handler=create,
    summary="Create an API key",
    description="Answers the key, this once. Keys never exceed their creator, now or later.",
    tag="api keys",
    access=needs("api_keys:write"),
    body=NewApiKey,
    answers={201: ApiKeyMade},
    errors=(
        "invalid_name",
        "invalid_scope",
        "invalid_expiry",
        "scope_exceeded",
        "mode_exceeded",
        "expiry_exceeded",
        "api_key_limit",
    ),
    write=True,
    shown_once=True,
    example={"name": "my first key", "scopes": ["read", "write"]},
)

ROUTES = (
    _CREATE,
    replace(_CREATE, path="/api-keys/create", description="The same as `POST /api-keys`."),
    Route(
        method="GET",
        path="/api-keys",
        handler=list_all,
        summary="List API keys",
        tag="api keys",
        access=needs("api_keys:read"),
        query=PageQuery,
        answers={200: ApiKeyList},
        errors=("invalid_cursor",),
    ),
    Route(
        method="GET",
        path="/api-keys/{id}",
        handler=show,
        summary="Show an API key",
        tag="api keys",
        access=needs("api_keys:read"),
        answers={200: ApiKeyShown},
        errors=("api_key_not_found",),
        path_examples=_EXAMPLE_ID,
    ),
    Route(
        method="PATCH",
        path="/api-keys/{id}",
        handler=change,
        summary="Change an API key",
        tag="api keys",
        access=needs("api_keys:write"),
        body=ApiKeyChange,
        answers={200: ApiKeyShown},
        errors=("invalid_name", "invalid_scope", "scope_exceeded", "api_key_not_found", "api_key_revoked"),
        write=True,
        path_examples=_EXAMPLE_ID,
        example={"name": "a better name"},
    ),
    Route(
        method="DELETE",
        path="/api-keys/{id}",
        handler=revoke,
        summary="Revoke an API key",
        description="Takes effect on every process within a second, and cannot be taken back.",
        tag="api keys",
        access=needs("api_keys:write"),
        answers={200: ApiKeyShown},
        errors=("api_key_not_found",),
        write=True,
        path_examples=_EXAMPLE_ID,
    ),
)
