"""API keys as clients send and see them; the key itself is in one answer only."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from api.caller import Mode
from api.plain_text import PATTERN
from api.rfc3339 import format_instant, maybe_instant
from api.scopes import INCLUDED
from domain.instant import Instant
from projections.api_keys import ApiKeyView

KeyName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=100, description="What it is for.", extra_json_schema={"pattern": PATTERN})
]
Scopes: TypeAlias = Annotated[
    list[Annotated[str, Meta(extra_json_schema={"enum": list(INCLUDED)})]],
    Meta(
        max_length=len(INCLUDED),
        description="read and write if left out. A key never exceeds its creator.",
        extra_json_schema={"minItems": 1},
    ),
]
Status: TypeAlias = Literal["active", "expiring", "revoked", "expired"]


class NewApiKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. Keys of mode `test` reach built-in models only and never spend."""

    name: KeyName
    scopes: Scopes | None = None
    expires_at: (
        Annotated[str, Meta(description="In the future; never if left out.", extra_json_schema={"format": "date-time"})]
        | None
    ) = None
    mode: Mode = "live"


class ApiKeyChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out or null stays."""

    name: KeyName | None = None
    scopes: Scopes | None = None


class ApiKeyMade(Struct, frozen=True, kw_only=True):
    """A new key. `key` is shown this once, and in repeats under the same `Idempotency-Key` for 24 hours; then null."""

    id: str
    key: str | None
    name: str
    scopes: list[str]
    mode: Mode
    created_at: str
    expires_at: str | None
    warning: str


class ApiKeyShown(Struct, frozen=True, kw_only=True):
    """A key as listings show it: `hint` is its beginning and end."""

    id: str
    name: str
    scopes: list[str]
    mode: Mode
    hint: str
    status: Status
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    events_url: str


class ApiKeyList(Struct, frozen=True, kw_only=True):
    """A page of keys, newest first."""

    object: Literal["list"] = "list"
    data: list[ApiKeyShown]
    has_more: bool
    next_cursor: str | None


def _status(view: ApiKeyView, now: Instant) -> Status:
    if view.revoked_at is not None:
        return "revoked"
    return "expired" if view.expires_at is not None and view.expires_at <= now else "active"


def shown(view: ApiKeyView, now: Instant) -> ApiKeyShown:
    """The key as it is at `now`."""
    return ApiKeyShown(
        id=view.id,
        name=view.name,
        scopes=list(view.scopes),
        mode=view.mode,
        hint=view.hint,
        status=_status(view, now),
        created_at=format_instant(view.created_at),
        created_by=view.created_by,
        expires_at=maybe_instant(view.expires_at),
        revoked_at=maybe_instant(view.revoked_at),
        last_used_at=None,
        events_url=f"/api-keys/{view.id}/events",
    )
