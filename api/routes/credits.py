"""Credits of an account: what is there, and how privileged callers add some."""

from typing import Any

from api.accounts import require_account
from api.call import Call
from api.command_log.commands import data_of
from api.credits_shown import Added, Addition, CreditsQuery, CreditsShown, grant_shown
from api.errors import ApiError, declare
from api.ids import derived
from api.past_reads import EVENTS_MAX, readable_log
from api.plain_text import has_controls, is_plain
from api.rfc3339 import format_instant, parse_instant
from api.route import Route, needs
from api.routes.transactions import REASONS, TransactionShown
from domain.account.credits import AddCredits
from domain.account.holds import Sweep
from domain.money import format_credits, parse_credits
from eventstore.past import TooLong
from eventstore.records import Outcome
from projections.credits import CreditsView, get_credits
from projections.past_credits import credits_at
from projections.transactions import grant_transaction

declare(
    "reference_conflict",
    "conflict",
    "Credits were added under this reference before, on other terms.",
    "Use a new reference for a new payment; the same one only to repeat a request unchanged.",
)
declare("live_key_required", "forbidden", "A key of mode test cannot do this.", "Use a live key or a login token.")
declare(
    "invalid_text",
    "invalid",
    "A text is blank, or holds control characters.",
    "`param` says which; send it in one line.",
)
declare(
    "invalid_moment",
    "invalid",
    "`at` is no moment that has been.",
    "Use RFC 3339 with an offset, such as 2026-11-22T13:05:26Z, not in the future.",
)
declare("too_many_grants", "conflict", "The account holds too many grants that are not used up.", "Add fewer, larger.")
declare("balance_too_large", "conflict", "The balance would exceed the largest that is supported.", "Add less.")


async def add(call: Call[Addition, None]) -> Added:
    """Adds credits once for each account and reference, for ever; a repeat on other terms is refused."""
    body, services = call.body, call.services
    command = _addition(call)
    await require_account(services, body.account_id)
    terms = f"{command.amount} {command.priority} {command.expires_at}"
    draft = call.draft(
        f"account:{body.account_id}",
        account=body.account_id,
        command_id=_command_id(body),
        # Of what the money depends on, not of the request: a reason spelt otherwise makes no other payment.
        fingerprint=services.lookup.digest("credits.add", terms.encode()),
    )
    # Refused here and not by the worker, as above; of a repeat the time may have come meanwhile.
    expired = command.expires_at is not None and command.expires_at <= services.clock()
    if expired and await draft.known() is None:
        raise ApiError("invalid_expiry", "expires_at must lie in the future.", param="expires_at")
    await _remember_key(call)
    try:
        outcome = await draft.submit(command)
    except ApiError as error:
        if error.code == "idempotency_key_reused":
            raise ApiError("reference_conflict", param="reference") from None
        raise
    return _added(body, outcome)


async def _remember_key(call: Call[Addition, None]) -> None:
    """422 for an `Idempotency-Key` that came with another request before.

    The reference names the command, so the key needs one of its own, on the caller's stream. It changes nothing; its
    outcome remembers the request.
    """
    if call.idempotency_key is not None:
        await call.draft(f"account:{call.caller.account_id}").remember(Sweep())


def _addition(call: Call[Addition, None]) -> AddCredits:
    body = call.body
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    if not is_plain(body.reference):
        raise ApiError("invalid_text", param="reference")
    if has_controls(body.reason or ""):
        raise ApiError("invalid_text", param="reason")
    # Refused here and not by the worker: its refusal would be the reference's final outcome.
    amount, expires_at = parse_credits(body.amount), None
    if amount == 0:
        raise ApiError("invalid_amount", "amount must be positive.", param="amount")
    if body.expires_at is not None:
        expires_at = parse_instant(body.expires_at, name="expires_at", code="invalid_expiry")
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


def _added(body: Addition, outcome: Outcome) -> Added:
    """From the outcome alone, so that a repeat says what the first answer said."""
    data = data_of(outcome)
    return Added(
        transaction=TransactionShown(
            id=grant_transaction(body.account_id, data["grant_id"]),
            kind="grant",
            amount=format_credits(data["amount"]),
            balance=format_credits(data["balance"]),
            created_at=format_instant(outcome.at),
            debt=format_credits(data["debt"]),
            owed=format_credits(0),
            repaid=format_credits(data["repaid"]),
            reason=data["reason"] or REASONS["grant"],
            source=data["source"],
            reference=body.reference,
            grant_id=data["grant_id"],
        ),
        **_balance(body.account_id, data),
    )


def _balance(account_id: str, figures: dict[str, int]) -> dict[str, Any]:
    return {"account_id": account_id} | {
        name: format_credits(figures[name]) for name in ("balance", "held", "available", "debt")
    }


async def show(call: Call[None, CreditsQuery]) -> CreditsShown:
    """What the account has, or had at a moment."""
    services, account_id = call.services, call.caller.account_id
    if call.query.at is not None:
        return await _show_past(call, call.query.at)
    credits = await get_credits(services.documents, services.shards, account_id)
    return _credits_shown(credits)


async def _show_past(call: Call[None, CreditsQuery], text: str) -> CreditsShown:
    """What it had at a moment, folded from the log. `invalid_moment`, `history_too_long`, `past_busy`."""
    services, account_id = call.services, call.caller.account_id
    at = parse_instant(text, name="at", code="invalid_moment")
    if at > services.clock():
        raise ApiError("invalid_moment", "at must not lie in the future.", param="at")
    async with services.past_reads.turn():
        try:
            with readable_log():
                credits, past = await credits_at(services.store, services.shards, account_id, at, events_max=EVENTS_MAX)
        except TooLong:
            raise ApiError("history_too_long", param="at", limit=EVENTS_MAX) from None
    return _credits_shown(credits, at=format_instant(at), version=past.version)


def _credits_shown(credits: CreditsView, **past: Any) -> CreditsShown:
    return CreditsShown(
        account_id=credits.account_id,
        balance=format_credits(credits.balance),
        held=format_credits(credits.held),
        available=format_credits(credits.available),
        debt=format_credits(credits.debt),
        grants=[grant_shown(grant) for grant in credits.grants],
        **past,
    )


ROUTES = (
    Route(
        method="POST",
        path="/billing/credits/add",
        handler=add,
        summary="Add credits to an account",
        description="For admins and their service keys. The same reference again answers the same and adds nothing.",
        tag="billing",
        access=needs("billing:write", role="admin", fresh=True),
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
        description=(
            "With `at` as they were at that moment, read from the log: what time had caused by then counts, such as "
            "the end of a hold, also where it was written later."
        ),
        access=needs("billing:read"),
        query=CreditsQuery,
        answers={200: CreditsShown},
        errors=("invalid_moment", "history_too_long", "history_unreadable", "past_busy"),
    ),
)
