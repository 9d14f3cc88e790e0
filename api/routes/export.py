"""Everything that is held on a user, readable: `GET /users/me/export`. Sent as it is read, a page at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from starlette.responses import StreamingResponse

from api.api_key_shown import ApiKeyShown
from api.api_key_shown import shown as key_shown
from api.call import Call
from api.errors import ApiError
from api.parts import Services
from api.project_shown import ProjectShown, project_shown
from api.rfc3339 import format_instant
from api.route import Route, Stream, needs
from api.routes.audit import AuditShown, entry_shown
from api.routes.holds import HoldShown, hold_shown
from api.routes.payments import PaymentShown, payment_shown
from api.routes.preferences import BillingSettings, settings_shown
from api.routes.transactions import TransactionShown, transaction_shown
from api.routes.users import User, own_user, user_shown
from domain.instant import DAY, Instant
from domain.member import Level
from domain.money import format_credits
from projections.api_keys import list_api_keys
from projections.audit_trail import trail
from projections.billing_customers import list_billing_customers
from projections.holds import list_holds
from projections.memberships import list_memberships
from projections.paging import Cursor, Page
from projections.payments import list_payments
from projections.preferences import get_preferences
from projections.projects import list_projects
from projections.transactions import list_transactions
from projections.usage_sums import Question, UsageSum, sum_usage

PAGE = 100
_encode = msgspec.json.Encoder().encode

D = TypeVar("D", bound=Struct)
Section: TypeAlias = AsyncIterator[Struct]


class Membership(Struct, frozen=True, kw_only=True):
    """An organization that the user is a member of."""

    organization_id: str
    level: Level
    joined_at: str


class BillingCustomer(Struct, frozen=True, kw_only=True):
    """As whom a billing provider knows the account; what it holds itself, such as cards, is its own to show."""

    provider: str
    customer_id: str
    linked_at: str


class DayUsed(Struct, frozen=True, kw_only=True):
    """What one model was used for through one key on one day (UTC)."""

    day: str
    model: str
    api_key_id: str | None
    requests: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost: str


class UserExport(Struct, frozen=True, kw_only=True):
    """All of it. The user's own account only: an organization's data is the organization's."""

    exported_at: str
    user: User
    billing_settings: BillingSettings
    organizations: list[Membership]
    projects: list[ProjectShown]
    api_keys: list[ApiKeyShown]
    transactions: list[TransactionShown]
    holds: list[HoldShown]
    payments: list[PaymentShown]
    billing_customers: list[BillingCustomer]
    usage: list[DayUsed]
    audit: list[AuditShown]


async def export(call: Call[None, None]) -> StreamingResponse:
    """Begins once the user is found; an answer that breaks off is no JSON, so nobody takes a part for the whole."""
    services, user_id = call.services, call.caller.user_id
    if call.caller.kind != "user":
        raise ApiError("login_required")
    view = await own_user(services, user_id)
    user = await user_shown(services, view)
    now = services.clock()
    settings = settings_shown(await get_preferences(services.documents, services.shards, user_id))
    head = _encode({"exported_at": format_instant(now), "user": user, "billing_settings": settings})
    body = _written(head, _sections(services, user_id, view.registered_at, now))
    headers = {"Content-Disposition": f'attachment; filename="{user_id}.json"'}
    return StreamingResponse(body, media_type="application/json", headers=headers)


async def _written(head: bytes, sections: dict[str, Section]) -> AsyncIterator[bytes]:
    yield head[:-1]
    for name, items in sections.items():
        yield b',"' + name.encode() + b'":['
        first = True
        async for item in items:
            yield _encode(item) if first else b"," + _encode(item)
            first = False
        yield b"]"
    yield b"}"


def _sections(services: Services, user_id: str, since: Instant, now: Instant) -> dict[str, Section]:
    documents, shards = services.documents, services.shards
    return {
        "organizations": _walked(
            lambda after: list_memberships(documents, user_id, limit=PAGE, after=after),
            lambda each: Membership(
                organization_id=each.org_id, level=each.level, joined_at=format_instant(each.joined_at)
            ),
        ),
        "projects": _projects(services, user_id),
        "api_keys": _walked(
            lambda after: list_api_keys(documents, shards, user_id, limit=PAGE, after=after),
            lambda each: key_shown(each, now),
        ),
        "transactions": _walked(
            lambda after: list_transactions(documents, shards, user_id, limit=PAGE, after=after), transaction_shown
        ),
        "holds": _walked(lambda after: list_holds(documents, shards, user_id, limit=PAGE, after=after), hold_shown),
        "payments": _walked(
            lambda after: list_payments(documents, shards, user_id, limit=PAGE, after=after), payment_shown
        ),
        "billing_customers": _walked(
            lambda after: list_billing_customers(documents, shards, user_id, limit=PAGE, after=after),
            lambda each: BillingCustomer(
                provider=each.provider, customer_id=each.customer_id, linked_at=format_instant(each.linked_at)
            ),
        ),
        "usage": _usage(services, user_id, since, now),
        "audit": _audit(services, user_id),
    }


async def _walked(
    read: Callable[[Cursor | None], Awaitable[Page[D]]], shown: Callable[[D], Struct]
) -> AsyncIterator[Struct]:
    """Every document of a listing, holding one page at a time."""
    after: Cursor | None = None
    while True:
        page = await read(after)
        for item in page.items:
            yield shown(item)
        after = page.next_after
        if after is None:
            return


async def _projects(services: Services, user_id: str) -> AsyncIterator[Struct]:
    after: Cursor | None = None
    while True:
        page = await list_projects(services.documents, user_id, limit=PAGE, after=after)
        for view in page.items:
            yield await project_shown(services, view)
        after = page.next_after
        if after is None:
            return


async def _usage(services: Services, user_id: str, since: Instant, now: Instant) -> AsyncIterator[Struct]:
    """By day (UTC), one day at a time."""
    for start in range(since - since % DAY, now, DAY):
        question = Question(account_id=user_id, start=start, end=start + DAY, dimensions=("model", "api_key"))
        for used in await sum_usage(services.documents, services.shards, question):
            yield _day_used(start, used)


def _day_used(start: Instant, used: UsageSum) -> DayUsed:
    model, key_id = used.values
    return DayUsed(
        day=format_instant(start)[:10],
        model=model or "",
        api_key_id=key_id,
        requests=used.figure("requests"),
        input_tokens=used.figure("input"),
        cached_tokens=used.figure("cached"),
        cache_write_tokens=used.figure("cache_write"),
        output_tokens=used.figure("output"),
        reasoning_tokens=used.figure("reasoning"),
        audio_input_tokens=used.figure("audio_input"),
        audio_output_tokens=used.figure("audio_output"),
        cost=format_credits(used.figure("cost")),
    )


async def _audit(services: Services, user_id: str) -> AsyncIterator[Struct]:
    async for placed in trail(services.documents, services.store, user_id, None):
        yield await entry_shown(services, placed.entry)


ROUTES = (
    Route(
        method="GET",
        path="/users/me/export",
        handler=export,
        summary="Export the caller's data",
        description=(
            "Of the user and the user's own account; what belongs to an organization is not in it. Sent as it is read, "
            "however much it is: an answer that breaks off is no JSON."
        ),
        tag="users",
        access=needs("users:read", while_suspended=True),
        answers={200: Stream(media_type="application/json", schema=UserExport, description="All of it.")},
        errors=("login_required", "user_not_found"),
        raw=True,
    ),
)
