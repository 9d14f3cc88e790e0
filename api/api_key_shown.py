"""API keys as clients send and see them; the key itself is in one answer only."""

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from api.caller import Mode
from api.credits_shown import Amount
from api.plain_text import PATTERN
from api.rfc3339 import format_instant, maybe_instant
from api.scopes import INCLUDED
from domain.account.api_key_limits import REQUESTS_MAX, CreditLimit, CreditPeriod, KeyLimits, RateLimit
from domain.account.api_keys import OVERLAP_MAX
from domain.instant import DAY, SECOND, Instant
from domain.money import format_credits, parse_credits
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
EXPIRING: Instant = 7 * DAY
"""How long before its end a key is shown as `expiring`."""
OVERLAP_DEFAULT_S = DAY // SECOND
Moment: TypeAlias = Annotated[
    str, Meta(description="In the future; never if left out.", extra_json_schema={"format": "date-time"})
]
Requests: TypeAlias = Annotated[int, Meta(ge=1, le=REQUESTS_MAX)]
Status: TypeAlias = Literal["active", "expiring", "revoked", "expired"]


class KeyRateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests of this key alone, beside what the account's plan allows; null: no limit of its own."""

    requests_per_minute: Requests | None = None
    requests_per_day: Requests | None = None


class KeyCreditLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most credits that the key may spend: ever, or in each day or calendar month (UTC)."""

    amount: Amount
    period: CreditPeriod = "total"


class NewApiKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. Keys of mode `test` reach built-in models only and never spend."""

    name: KeyName
    scopes: Scopes | None = None
    expires_at: Moment | None = None
    mode: Mode = "live"
    project_id: Annotated[str, Meta(max_length=100, description="The one project that it sees.")] | None = None
    rate_limit: KeyRateLimit | None = None
    credit_limit: KeyCreditLimit | None = None


class ApiKeyChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; null takes a limit or the end away. A limit is replaced as a whole."""

    name: KeyName | None = None
    scopes: Scopes | None = None
    expires_at: Moment | UnsetType | None = UNSET
    rate_limit: KeyRateLimit | UnsetType | None = UNSET
    credit_limit: KeyCreditLimit | UnsetType | None = UNSET


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the old secret works on beside the new one; with 0 it ends at once."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_MAX // SECOND)] = OVERLAP_DEFAULT_S


class KeyLimitsShown(Struct, frozen=True, kw_only=True):
    """The key's own limits; null where it has none."""

    rate_limit: KeyRateLimit | None
    credit_limit: KeyCreditLimit | None


class ApiKeyShown(Struct, frozen=True, kw_only=True):
    """A key as listings show it: `hint` is its beginning and end.

    `expiring` is a key in the last 7 days before `expires_at`, or with an old secret that works until
    `old_secret_expires_at`. `last_used_at` is known a moment after the minute of the use.
    """

    id: str
    name: str
    scopes: list[str]
    mode: Mode
    hint: str
    status: Status
    project_id: str | None
    limits: KeyLimitsShown
    created_at: str
    created_by: str
    expires_at: str | None
    old_secret_expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    events_url: str
    usage_url: str


class ApiKeyMade(ApiKeyShown, frozen=True, kw_only=True):
    """`key` is shown this once, and in repeats under the same `Idempotency-Key` for 24 hours; then it is null."""

    key: str | None
    warning: str


class ApiKeyList(Struct, frozen=True, kw_only=True):
    """A page of keys, newest first."""

    object: Literal["list"] = "list"
    data: list[ApiKeyShown]
    has_more: bool
    next_cursor: str | None


def rate_limit_of(asked: KeyRateLimit | None) -> RateLimit | None:
    """The rates as the domain knows them; `None` where none are limited."""
    if asked is None or (asked.requests_per_minute is None and asked.requests_per_day is None):
        return None
    return RateLimit(requests_per_minute=asked.requests_per_minute, requests_per_day=asked.requests_per_day)


def credit_limit_of(asked: KeyCreditLimit | None) -> CreditLimit | None:
    """The credit limit as the domain knows it. `Invalid` for an amount that is none."""
    if asked is None:
        return None
    return CreditLimit(amount=parse_credits(asked.amount, name="credit_limit"), period=asked.period)


def limits_shown(limits: KeyLimits) -> KeyLimitsShown:
    """Limits as clients see them."""
    rates = KeyRateLimit(requests_per_minute=limits.requests_per_minute, requests_per_day=limits.requests_per_day)
    credit = limits.credit_limit
    return KeyLimitsShown(
        rate_limit=None if rates == KeyRateLimit() else rates,
        credit_limit=None
        if credit is None
        else KeyCreditLimit(amount=format_credits(credit), period=limits.credit_period),
    )


def _status(view: ApiKeyView, now: Instant) -> Status:
    if view.revoked_at is not None:
        return "revoked"
    if view.expires_at is not None and view.expires_at <= now:
        return "expired"
    ends_soon = view.expires_at is not None and view.expires_at <= now + EXPIRING
    return "expiring" if ends_soon or _old_until(view, now) is not None else "active"


def _old_until(view: ApiKeyView, now: Instant) -> Instant | None:
    """Until when the secret before the last rotation works, if it still does."""
    until = None if view.old is None else view.old.until
    return until if until is not None and until > now and view.revoked_at is None else None


def shown(view: ApiKeyView, now: Instant) -> ApiKeyShown:
    """The key as it is at `now`."""
    return ApiKeyShown(
        id=view.id,
        name=view.name,
        scopes=list(view.scopes),
        mode=view.mode,
        hint=view.hint,
        status=_status(view, now),
        project_id=view.project_id,
        limits=limits_shown(view.limits),
        created_at=format_instant(view.created_at),
        created_by=view.created_by,
        expires_at=maybe_instant(view.expires_at),
        old_secret_expires_at=maybe_instant(_old_until(view, now)),
        revoked_at=maybe_instant(view.revoked_at),
        last_used_at=maybe_instant(view.last_used_at),
        events_url=f"/api-keys/{view.id}/events",
        usage_url=f"/api-keys/{view.id}/usage",
    )
