"""Holds of an account: credits set aside for requests, and how each of them ended."""

from typing import Literal

from msgspec import Struct

from api.call import Call
from api.pagination import PageQuery, list_fields
from api.rfc3339 import format_instant, maybe_instant
from api.route import Route, needs
from api.routes.transactions import TokensUsed, tokens_used
from domain.money import format_credits
from projections.holds import HoldView, list_holds


class HoldShown(Struct, frozen=True, kw_only=True):
    """A hold. `cost` is what the request came to in the end; null while it is open."""

    id: str
    status: Literal["open", "settled", "released", "expired"]
    model: str
    amount: str
    cost: str | None
    placed_at: str
    expires_at: str
    closed_at: str | None
    corrected: bool
    api_key_id: str | None
    reason: str | None
    price_version: str
    usage: TokensUsed | None


class HoldList(Struct, frozen=True, kw_only=True):
    """A page of holds, newest first."""

    object: Literal["list"] = "list"
    data: list[HoldShown]
    has_more: bool
    next_cursor: str | None


async def list_all(call: Call[None, PageQuery]) -> HoldList:
    """The account's holds, open and closed."""
    services, query = call.services, call.query
    page = await list_holds(
        services.documents, services.shards, call.caller.account_id, limit=query.limit, after=query.after()
    )
    return HoldList(**list_fields(page, hold_shown))


def hold_shown(hold: HoldView) -> HoldShown:
    """The hold as its account sees it."""
    return HoldShown(
        id=hold.id,
        status=hold.status,
        model=hold.model,
        amount=format_credits(hold.amount),
        cost=None if hold.status == "open" else format_credits(hold.cost),
        placed_at=format_instant(hold.placed_at),
        expires_at=format_instant(hold.expires_at),
        closed_at=maybe_instant(hold.closed_at),
        corrected=hold.corrected,
        api_key_id=hold.key_id,
        reason=hold.reason,
        price_version=hold.price_version,
        usage=tokens_used(hold.usage),
    )


ROUTES = (
    Route(
        method="GET",
        path="/billing/holds",
        handler=list_all,
        summary="List holds",
        tag="billing",
        access=needs("billing:read"),
        query=PageQuery,
        answers={200: HoldList},
        errors=("invalid_cursor",),
    ),
)
