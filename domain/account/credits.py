"""Credits that come in and run out: grants with priority and expiry, repayment of debt, the account's balance.

Balance and debt never meet: while there is debt every grant repays it first, and paid use is refused.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from domain.account import ledger
from domain.account.ledger import Burn, Grant, Ledger, burn_plan
from domain.aggregate import Answer
from domain.errors import Conflict, Full, Invalid
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import AMOUNT_MAX, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

GRANTS_MAX = 1_000
"""Grants with something left that one account can have, so that its state and its documents stay bounded."""
BALANCE_MAX: MicroCredits = 100 * AMOUNT_MAX
"""Bounds the balance well below 2**63, also as the sum of many grants."""


class AddCredits(Command, frozen=True, kw_only=True, tag="credits.add"):
    """Grants credits. Its command id is derived from account and reference, so one reference grants once, for ever."""

    category = "account"
    shed = False  # a payment has happened, whether we are busy or not
    grant_id: str
    amount: MicroCredits
    source: str
    reference: str
    reason: str | None = None
    priority: int = 100
    expires_at: Instant | None = None


class CreditsGranted(Event, frozen=True, kw_only=True, tag="credits.granted"):
    """`amount` came in: `repaid` of it went to debt, the rest is a grant. `balance` and `debt` are after it."""

    grant_id: str
    amount: MicroCredits
    repaid: MicroCredits
    source: str
    reference: str
    reason: str | None
    priority: int
    expires_at: Instant | None
    granted_at: Instant
    balance: MicroCredits
    debt: MicroCredits


class GrantExpired(Event, frozen=True, kw_only=True, tag="credits.grant_expired"):
    """What was left of a grant, and not reserved by holds, ran out. `balance` is after it."""

    grant_id: str
    amount: MicroCredits
    balance: MicroCredits


class DebtRepaid(Event, frozen=True, kw_only=True, tag="credits.debt_repaid"):
    """Credits that a closing hold has set free went to debt at once. `balance` and `debt` are after it."""

    amount: MicroCredits
    burns: tuple[Burn, ...]
    balance: MicroCredits
    debt: MicroCredits


COMMANDS = (AddCredits,)
EVENTS = (CreditsGranted, GrantExpired, DebtRepaid)
CreditsEvent: TypeAlias = CreditsGranted | GrantExpired | DebtRepaid


def decide(account: "Account", command: AddCredits, at: Instant) -> Sequence[CreditsEvent]:
    """Grants credits, repaying debt first. `Invalid` on amounts out of range, `Full` when there is no room."""
    credits = account.credits
    if not 0 < command.amount <= AMOUNT_MAX:
        raise Invalid("invalid_amount", "amount must be positive and at most 1000000000 credits.", param="amount")
    if command.expires_at is not None and command.expires_at <= at:
        raise Invalid("invalid_expiry", "expires_at must lie in the future.", param="expires_at")
    if command.grant_id in credits.grants:
        raise Conflict("grant_exists", "These credits were granted before.")
    if len(credits.grants) >= GRANTS_MAX:
        raise Full("too_many_grants", f"An account can hold {GRANTS_MAX} grants that are not used up.")
    if credits.balance + command.amount > BALANCE_MAX:
        raise Full("balance_too_large", "The account's balance would exceed the largest that is supported.")
    return [granted(credits, command, at)]


def granted(credits: Ledger, command: AddCredits, at: Instant) -> CreditsGranted:
    """Credits as they come in, whoever has decided that they do: debt is repaid first."""
    repaid = min(credits.debt, command.amount)
    return CreditsGranted(
        grant_id=command.grant_id,
        amount=command.amount,
        repaid=repaid,
        source=command.source,
        reference=command.reference,
        reason=command.reason,
        priority=command.priority,
        expires_at=command.expires_at,
        granted_at=at,
        balance=credits.balance + command.amount - repaid,
        debt=credits.debt - repaid,
    )


def evolve(credits: Ledger, event: CreditsEvent) -> None:
    """Writes a grant or an expiry into the ledger."""
    match event:
        case CreditsGranted():
            credits.debt -= event.repaid
            grant = Grant(
                id=event.grant_id,
                source=event.source,
                priority=event.priority,
                remaining=event.amount - event.repaid,
                granted_at=event.granted_at,
                expires_at=event.expires_at,
            )
            ledger.put_grant(credits, grant)
        case GrantExpired():
            ledger.burn(credits, [Burn(grant_id=event.grant_id, amount=event.amount)])
            ledger.reckon_wake(credits)
        case DebtRepaid():
            credits.debt -= event.amount
            ledger.burn(credits, event.burns)
            ledger.reckon_wake(credits)


def due(credits: Ledger, at: Instant) -> Sequence[CreditsEvent]:
    """Debt that can be repaid now, then what has run out by `at`. What open holds need stays until they are closed."""
    repaid = min(credits.debt, credits.available)
    if repaid:
        return [_repaid(credits, repaid)]
    if credits.wake_at is None or credits.wake_at > at:
        return []
    events: list[GrantExpired] = []
    spare, balance = credits.available, credits.balance
    for grant in credits.grants.values():
        if grant.expires_at is None or grant.expires_at > at or spare == 0:
            continue
        amount = min(grant.remaining, spare)
        spare -= amount
        balance -= amount
        events.append(GrantExpired(grant_id=grant.id, amount=amount, balance=balance))
    return events


def _repaid(credits: Ledger, amount: MicroCredits) -> DebtRepaid:
    return DebtRepaid(
        amount=amount,
        burns=burn_plan(credits.grants.values(), amount),
        balance=credits.balance - amount,
        debt=credits.debt - amount,
    )


def answer(account: "Account", _command: AddCredits, events: Sequence[Event]) -> Answer:
    """What was granted, as it is on record, what of it became balance, and the balance after it."""
    granted = next(event for event in events if isinstance(event, CreditsGranted))
    return {
        "grant_id": granted.grant_id,
        "amount": granted.amount - granted.repaid,
        "repaid": granted.repaid,
        "source": granted.source,
        "reason": granted.reason,
    } | balance_answer(account.credits)


def balance_answer(credits: Ledger) -> Answer:
    """The account's figures in micro-credits, as every money outcome carries them."""
    return {
        "balance": credits.balance,
        "held": credits.held,
        "available": credits.available,
        "debt": credits.debt,
    }
