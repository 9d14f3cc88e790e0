"""Credits of an account: what is there, and how privileged callers add some."""

import re
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from api.call import Call
from api.commands import data_of
from api.errors import ApiError, declare
from api.ids import derived
from api.rfc3339 import format_instant, maybe_instant, parse_instant
from api.route import Route, needs
from api.routes.transactions import TransactionShown, grant_transaction
from domain.account.credits import AddCredits
from domain.money import format_credits, parse_credits
from eventstore.records import Outcome
from projections.credits import GrantView, get_credits
from projections.users import get_user

PRIORITY_DEFAULT = 100
PRIORITY_MAX = 1_000
_USER_ID = re.compile(r"user_[0-9a-f]{32}", re.ASCII)

declare("account_not_found", "not_found", "There is no such account.", "Use the `account_id` of a user who registered.")
declare(
    "reference_conflict",
    "conflict",
    "Credits were added under this reference before, on other terms.",
    "Use a new reference for a new payment; the same one only to repeat a request unchanged.",
)
declare("live_key_required", "forbidden", "A key of mode test cannot do this.", "Use a live key or a login token.")
declare("invalid_text", "invalid", "A text holds control characters.", "Send printable characters; `param` says where.")
declare("too_many_grants", "conflict", "The account holds too many grants that are not used up.", "Add fewer, larger.")
declare("balance_too_large", "conflict", "The balance would exceed the largest that is supported.", "Add less.")

Amount: TypeAlias = Annotated[
    str,
    Meta(
        description="Credits as a decimal string with at most six places.",
        examples=["12.500000"],
        extra_json_schema={"pattern": r"^[0-9]{1,10}(\.[0-9]{1,6})?$"},
    ),
]
Reference: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=255, description="Your id of the payment; credits are added once for it.")
]


class Addition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to add. Grants with a low `priority` number are used first. Put no personal data into the texts."""

    account_id: Annotated[str, Meta(max_length=100)]
    amount: Amount
    reference: Reference
    reason: Annotated[str, Meta(max_length=500)] | None = None
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] = PRIORITY_DEFAULT
    expires_at: Annotated[str, Meta(description="RFC 3339; never if left out.")] | None = None


class Balance(Struct, frozen=True, kw_only=True):
    """`available` = `balance` - `held`. `debt` is owed beside the balance and repaid first by what comes in."""

    account_id: str
    balance: str
    held: str
    available: str
    debt: str


class Added(Balance, frozen=True, kw_only=True):
    """The transaction, and the account's figures right after it."""

    transaction: TransactionShown


class GrantShown(Struct, frozen=True, kw_only=True):
    """Credits that came in together, and what is left of them."""

    id: str
    source: str
    reference: str | None
    priority: int
    amount: str
    remaining: str
    granted_at: str
    expires_at: str | None


class CreditsShown(Balance, frozen=True, kw_only=True):
    """The account's figures, and its grants in the order in which they are used."""

    grants: list[GrantShown]


async def add(call: Call[Addition, None]) -> Added:
    """Adds credits once for each account and reference, for ever; a repeat on other terms is refused."""
    body, services = call.body, call.services
    command = _addition(call)
    user = await get_user(services.documents, services.shards, body.account_id) if _is_user(body.account_id) else None
    if user is None:
        raise ApiError("account_not_found", param="account_id")
    terms = f"{command.amount} {command.priority} {command.expires_at}"
    draft = call.draft(
        f"account:{body.account_id}",
        account=body.account_id,
        command_id=_command_id(body),
        # Of what the money depends on, not of the request: a reason spelt otherwise makes no other payment.
        fingerprint=services.lookup.digest("credits.add", terms.encode()),
    )
    try:
        outcome = await draft.submit(command)
    except ApiError as error:
        if error.code == "idempotency_key_reused":
            raise ApiError("reference_conflict", param="reference") from None
        raise
    return _added(body.account_id, command, outcome)


def _addition(call: Call[Addition, None]) -> AddCredits:
    body = call.body
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    for name, text in (("reference", body.reference), ("reason", body.reason or "")):
        if not text.isprintable():
            raise ApiError("invalid_text", f"{name} must not hold control characters.", param=name)
    # Refused here and not by the worker: its refusal would be the reference's final outcome.
    amount, expires_at = parse_credits(body.amount), None
    if amount == 0:
        raise ApiError("invalid_amount", "amount must be positive.", param="amount")
    if body.expires_at is not None:
        expires_at = parse_instant(body.expires_at, name="expires_at", code="invalid_expiry")
        if expires_at <= call.services.clock():
            raise ApiError("invalid_expiry", "expires_at must lie in the future.", param="expires_at")
    return AddCredits(
        grant_id=f"grant_{derived(_command_id(body), 'grant').replace('-', '')}",
        amount=amount,
        source="admin" if call.caller.kind == "user" else "service",
        reference=body.reference,
        reason=body.reason,
        priority=body.priority,
        expires_at=expires_at,
    )


def _command_id(body: Addition) -> str:
    return derived("credits.add", body.account_id, body.reference)


def _is_user(account_id: str) -> bool:
    return _USER_ID.fullmatch(account_id) is not None


def _added(account_id: str, command: AddCredits, outcome: Outcome) -> Added:
    """From the outcome alone, so that a repeat says what the first answer said."""
    data = data_of(outcome)
    return Added(
        transaction=TransactionShown(
            id=grant_transaction(command.grant_id),
            kind="grant",
            amount=format_credits(data["amount"]),
            balance=format_credits(data["balance"]),
            created_at=format_instant(outcome.at),
            debt=format_credits(data["debt"]),
            owed=format_credits(0),
            repaid=format_credits(data["repaid"]),
            reason=command.reason,
            source=command.source,
            reference=command.reference,
            grant_id=command.grant_id,
        ),
        **_balance(account_id, data),
    )


def _balance(account_id: str, figures: dict[str, int]) -> dict[str, Any]:
    return {"account_id": account_id} | {
        name: format_credits(figures[name]) for name in ("balance", "held", "available", "debt")
    }


async def show(call: Call[None, None]) -> CreditsShown:
    """What the account has."""
    services, account_id = call.services, call.caller.account_id
    credits = await get_credits(services.documents, services.shards, account_id)
    return CreditsShown(
        account_id=account_id,
        balance=format_credits(credits.balance),
        held=format_credits(credits.held),
        available=format_credits(credits.available),
        debt=format_credits(credits.debt),
        grants=[_grant(grant) for grant in credits.grants],
    )


def _grant(grant: GrantView) -> GrantShown:
    return GrantShown(
        id=grant.id,
        source=grant.source,
        reference=grant.reference,
        priority=grant.priority,
        amount=format_credits(grant.amount),
        remaining=format_credits(grant.remaining),
        granted_at=format_instant(grant.granted_at),
        expires_at=maybe_instant(grant.expires_at),
    )


ROUTES = (
    Route(
        method="POST",
        path="/billing/credits/add",
        handler=add,
        summary="Add credits to an account",
        description="For admins and their service keys. The same reference again answers the same and adds nothing.",
        tag="billing",
        access=needs("billing:write", role="admin"),
        body=Addition,
        answers={200: Added},
        errors=(
            "invalid_amount",
            "invalid_expiry",
            "invalid_text",
            "live_key_required",
            "account_not_found",
            "reference_conflict",
            "too_many_grants",
            "balance_too_large",
        ),
        write=True,
        example={
            "account_id": "user_00000000000000000000000000000000",
            "amount": "12.500000",
            "reference": "invoice-1001",
            "reason": "Top-up",
        },
    ),
    Route(
        method="GET",
        path="/billing/credits",
        handler=show,
        summary="Show credits",
        tag="billing",
        access=needs("billing:read"),
        answers={200: CreditsShown},
    ),
)
