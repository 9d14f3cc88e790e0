"""Every movement of an account's balance, as clients see it."""

from typing import Literal, TypeAlias

from msgspec import Struct

from api.call import Call, Reply
from api.csv_answer import csv_reply, json_reply, prefers_csv
from api.pagination import PageQuery, list_fields, next_link
from api.rfc3339 import format_instant
from api.route import Route, Stream, needs
from domain.account.usage import Usage, UsageSource
from domain.money import format_credits
from projections.transactions import Transaction, list_transactions


class TokensUsed(Struct, frozen=True, kw_only=True):
    """What a request used; the kinds do not overlap. `source` says who counted."""

    source: UsageSource
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int


TransactionKind: TypeAlias = Literal["grant", "expiry", "charge", "correction", "repayment", "claw_back", "give_back"]
REASONS: dict[TransactionKind, str] = {
    "grant": "grant",
    "expiry": "expired",
    "charge": "usage",
    "correction": "late correction",
    "repayment": "debt repaid",
    "claw_back": "payment taken back",
    "give_back": "payment returned",
}
"""Why the balance moved, where nobody gave another reason."""


class TransactionShown(Struct, frozen=True, kw_only=True):
    """A movement of the balance. `amount` is signed; `repaid` of a grant went to debt, `owed` of a charge became it."""

    id: str
    kind: TransactionKind
    amount: str
    balance: str
    created_at: str
    debt: str
    owed: str
    repaid: str
    reason: str
    source: str | None = None
    reference: str | None = None
    grant_id: str | None = None
    hold_id: str | None = None
    model: str | None = None
    api_key_id: str | None = None
    usage: TokensUsed | None = None
    price_version: str | None = None
    request_id: str | None = None


_PLAIN = tuple(name for name in TransactionShown.__struct_fields__ if name != "usage")
COLUMNS = (*_PLAIN, "usage_source", *TokensUsed.__struct_fields__[1:])
"""Of the CSV: a transaction's fields, then those of its usage, of which `source` is the one that both have."""


class TransactionList(Struct, frozen=True, kw_only=True):
    """A page of transactions, newest first."""

    object: Literal["list"] = "list"
    data: list[TransactionShown]
    has_more: bool
    next_cursor: str | None


async def list_all(call: Call[None, PageQuery]) -> Reply:
    """Every movement of the account's balance; their sum is the balance. As CSV a page has its `Link` to the next."""
    services, query = call.services, call.query
    page = await list_transactions(
        services.documents, services.shards, call.caller.account_id, limit=query.limit, after=query.after()
    )
    listed = TransactionList(**list_fields(page, transaction_shown))
    if not prefers_csv(call.header("accept")):
        return json_reply(listed)
    return csv_reply("transactions", COLUMNS, map(_row, listed.data), next_link(call, listed.next_cursor))


def _row(shown: TransactionShown) -> tuple[object, ...]:
    """A line of CSV: the transaction, and what its request used."""
    own = (getattr(shown, name) for name in _PLAIN)
    used = (None if shown.usage is None else getattr(shown.usage, name) for name in TokensUsed.__struct_fields__)
    return (*own, *used)


def transaction_shown(each: Transaction) -> TransactionShown:
    """The transaction as its account sees it."""
    return TransactionShown(
        id=each.id,
        kind=each.kind,
        amount=format_credits(each.amount),
        balance=format_credits(each.balance),
        created_at=format_instant(each.at),
        debt=format_credits(each.debt),
        owed=format_credits(each.owed),
        repaid=format_credits(each.repaid),
        reason=each.reason or REASONS[each.kind],
        source=each.source,
        reference=each.reference,
        grant_id=each.grant_id,
        hold_id=each.hold_id,
        model=each.model,
        api_key_id=each.key_id,
        usage=tokens_used(each.usage),
        price_version=each.price_version,
        request_id=each.request_id,
    )


def tokens_used(usage: Usage | None) -> TokensUsed | None:
    """Usage as clients see it."""
    if usage is None:
        return None
    return TokensUsed(
        source=usage.source,
        input_tokens=usage.input,
        cached_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        audio_input_tokens=usage.audio_input,
        audio_output_tokens=usage.audio_output,
    )


ROUTES = (
    Route(
        method="GET",
        path="/billing/credits/transactions",
        handler=list_all,
        summary="List credit transactions",
        tag="billing",
        access=needs("billing:read"),
        query=PageQuery,
        answers={200: (TransactionList, Stream(media_type="text/csv", description="The same as CSV, page by page."))},
        errors=("invalid_cursor",),
        response_headers=("Link",),
    ),
)
