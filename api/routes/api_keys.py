"""API keys: made, listed, changed, revoked. The key itself is shown once, in the answer that made it."""

import re
from typing import Any

from msgspec import UNSET, structs

from api.account_plan import plan_of
from api.api_key_made import as_decided, key_made, seal_key
from api.api_key_shown import (
    ApiKeyChange,
    ApiKeyList,
    ApiKeyMade,
    ApiKeyShown,
    NewApiKey,
    credit_limit_of,
    rate_limit_of,
    shown,
)
from api.api_key_unseen import submit_seen
from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.identity.api_key_authority import (
    require_mode,
    require_no_later,
    require_no_limits,
    require_project,
    require_reach,
)
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.plain_text import check_name
from api.rfc3339 import parse_instant
from api.route import Route, needs
from api.routes.projects import require_active_project
from api.scopes import requested
from domain.account.api_key_limits import NO_LIMITS, changed_limits
from domain.account.api_keys import CreateApiKey, RevokeApiKey, UpdateApiKey
from domain.instant import Instant
from projections.api_keys import ApiKeyView, find_api_key, list_api_keys
from projections.paging import Page

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
declare("api_key_expired", "conflict", "The API key has expired.", "Create a new key.")
declare("invalid_limit", "invalid", "A limit is out of range.", "A rate is 1 to 1000000000 requests, or null.")


async def create(call: Call[NewApiKey, None]) -> ApiKeyMade:
    """Makes a key; a repeat under one `Idempotency-Key` answers the same key while its outcome still holds it."""
    body, services, caller = call.body, call.services, call.caller
    check_name(body.name)
    scopes = requested(body.scopes, caller.scopes)
    require_mode(caller, body.mode)
    require_no_limits(caller)
    expires_at = _expiry(body.expires_at)
    require_no_later(caller, expires_at)
    project_id = await _project(call, body.project_id)
    limits = changed_limits(NO_LIMITS, rate_limit_of(body.rate_limit), credit_limit_of(body.credit_limit))
    draft = call.draft(f"account:{caller.account_id}")
    key_id = draft.new_id("key")
    made = services.identities.keys.make(key_id, body.mode)
    command = CreateApiKey(
        key_id=key_id,
        name=body.name,
        scopes=scopes,
        mode=body.mode,
        digest=made.digest,
        hint=made.hint,
        created_by=caller.user_id,
        keys_max=(await plan_of(services, caller.account_id)).api_keys,
        secret_sealed=await seal_key(services, caller.account_id, key_id, made.text),
        expires_at=expires_at,
        limits=limits,
        project_id=project_id,
    )
    outcome = await submit_seen(call, draft, command)
    view = ApiKeyView(
        id=key_id,
        account_id=caller.account_id,
        name=body.name,
        scopes=scopes,
        mode=body.mode,
        digest="",
        hint=data_of(outcome).get("hint", made.hint),
        created_by=caller.user_id,
        created_at=outcome.at,
        expires_at=expires_at,
        limits=limits,
        project_id=project_id,
    )
    return await key_made(services, view, outcome)


async def list_all(call: Call[None, PageQuery]) -> ApiKeyList:
    """The account's keys, revoked ones too; for a caller that is bound to a project, those of it on the page."""
    services, query, caller = call.services, call.query, call.caller
    page = await list_api_keys(
        services.documents, services.shards, caller.account_id, limit=query.limit, after=query.after()
    )
    if caller.project_id is not None:
        page = Page(
            items=[view for view in page.items if view.project_id == caller.project_id], next_after=page.next_after
        )
    now = services.clock()
    return ApiKeyList(**list_fields(page, lambda view: shown(view, now)))


async def show(call: Call[None, None]) -> ApiKeyShown:
    """One key of the account."""
    return shown(await own_key(call), call.services.clock())


async def change(call: Call[ApiKeyChange, None]) -> ApiKeyShown:
    """Changes name, scopes, limits or end; the name also of a key that may do more than the caller."""
    body, services, caller = call.body, call.services, call.caller
    view = await own_key(call)
    if body.name is not None:
        check_name(body.name)
    scopes = None if body.scopes is None else requested(body.scopes, caller.scopes)
    expires_at = UNSET if body.expires_at is UNSET else _expiry(body.expires_at)
    if expires_at is not UNSET:
        require_no_later(caller, expires_at)
    if limits_change(body):
        require_no_limits(caller)
    if reach_changes(body):
        require_reach(caller, view, view.scopes if scopes is None else scopes)
    draft = call.draft(f"account:{view.account_id}")
    outcome = await draft.submit(
        UpdateApiKey(
            key_id=view.id,
            name=body.name,
            scopes=scopes,
            rate_limit=UNSET if body.rate_limit is UNSET else rate_limit_of(body.rate_limit),
            credit_limit=UNSET if body.credit_limit is UNSET else credit_limit_of(body.credit_limit),
            expires_at=expires_at,
        )
    )
    services.identities.cache.stamped((view.id,))
    # As it was after this change: a repeat answers the same, whatever has become of the key since.
    return shown(as_decided(view, outcome), outcome.at)


def limits_change(body: ApiKeyChange) -> bool:
    """True where a limit is set or taken away."""
    return not (body.rate_limit is UNSET and body.credit_limit is UNSET)


def reach_changes(body: ApiKeyChange) -> bool:
    """True where more than the name changes: what the key may do, how much of it, or until when."""
    return limits_change(body) or body.scopes is not None or body.expires_at is not UNSET


async def revoke(call: Call[None, None]) -> ApiKeyShown:
    """Ends a key for good; of a revoked key it changes nothing and answers the same."""
    services = call.services
    view = await own_key(call)
    await call.draft(f"account:{view.account_id}").submit(RevokeApiKey(key_id=view.id))
    # Other processes see the stamp within a second; this one forgets the key now.
    services.identities.cache.stamped((view.id,))
    return shown(await _found(services, view.id), services.clock())


async def own_key(call: Call[Any, Any]) -> ApiKeyView:
    """The key of the path, if the caller can see it: 404 `api_key_not_found` for any other."""
    view = await _found(call.services, call.path["id"])
    caller = call.caller
    if view.account_id != caller.account_id or caller.project_id not in (None, view.project_id):
        raise ApiError("api_key_not_found")
    return view


async def _found(services: Services, key_id: str) -> ApiKeyView:
    view = await find_api_key(services.documents, key_id) if _KEY_ID.fullmatch(key_id) else None
    if view is None:
        raise ApiError("api_key_not_found")
    return view


async def _project(call: Call[Any, Any], project_id: str | None) -> str | None:
    """The project that the new key is bound to: the caller's own, if it has one; 404 for none of the account's."""
    caller = call.caller
    wanted = caller.project_id if project_id is None else project_id
    require_project(caller, wanted)
    if wanted is not None:
        await require_active_project(call.services, caller.account_id, wanted)
    return wanted


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
    access=needs("api_keys:write", project=True, fresh=True),
    body=NewApiKey,
    answers={201: ApiKeyMade},
    errors=(
        "invalid_name",
        "invalid_scope",
        "invalid_expiry",
        "scope_exceeded",
        "mode_exceeded",
        "expiry_exceeded",
        "limits_exceeded",
        "project_exceeded",
        "project_not_found",
        "api_key_limit",
        "invalid_amount",
        "api_key_unconfirmed",
    ),
    write=True,
    shown_once=True,
    example={
        "name": "my first key",
        "scopes": ["read", "write"],
        "rate_limit": {"requests_per_minute": 60},
        "credit_limit": {"amount": "5.000000", "period": "month"},
    },
)

ROUTES = (
    _CREATE,
    structs.replace(
        _CREATE,
        path="/api-keys/create",
        summary="Create an API key at its second address",
        description="The same as `POST /api-keys`.",
    ),
    Route(
        method="GET",
        path="/api-keys",
        handler=list_all,
        summary="List API keys",
        tag="api keys",
        access=needs("api_keys:read", project=True),
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
        access=needs("api_keys:read", project=True),
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
        access=needs("api_keys:write", project=True, fresh=reach_changes),
        body=ApiKeyChange,
        answers={200: ApiKeyShown},
        description="A limit is replaced as a whole; null takes it away. `expires_at` null: it never ends.",
        errors=(
            "invalid_name",
            "invalid_scope",
            "invalid_expiry",
            "invalid_amount",
            "scope_exceeded",
            "mode_exceeded",
            "expiry_exceeded",
            "limits_exceeded",
            "api_key_not_found",
            "api_key_revoked",
            "api_key_expired",
        ),
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
        access=needs("api_keys:write", project=True),
        answers={200: ApiKeyShown},
        errors=("api_key_not_found",),
        write=True,
        path_examples=_EXAMPLE_ID,
    ),
)
