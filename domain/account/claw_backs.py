"""Credits that a payment brought and that leave with it: taken back when the money is, given back when it returns.

Decided by the payment (`domain.account.payments`); here is what that does to the ledger. What is taken comes from the
payment's own grant first, then from all others as they burn, and the rest is debt. Open holds keep what they hold.
"""

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

from domain.account import ledger
from domain.account.ledger import Burn, Grant, Ledger, burn_plan
from domain.instant import Instant
from domain.message import Event
from domain.money import MicroCredits


class CreditsTakenBack(Event, frozen=True, kw_only=True, tag="credits.taken_back"):
    """`amount` = `charged` + `owed` left with a payment's money: burnt, or debt where it was spent already."""

    payment_id: str
    grant_id: str
    amount: MicroCredits
    charged: MicroCredits
    owed: MicroCredits
    burns: tuple[Burn, ...]
    reason: str
    balance: MicroCredits
    debt: MicroCredits


class CreditsGivenBack(Event, frozen=True, kw_only=True, tag="credits.given_back"):
    """`amount` came back with a payment's money: `repaid` of it went to debt, the rest into the payment's grant."""

    payment_id: str
    grant_id: str
    amount: MicroCredits
    repaid: MicroCredits
    source: str
    priority: int
    granted_at: Instant
    """When the grant was made: it burns in its old place."""
    expires_at: Instant | None
    reason: str
    balance: MicroCredits
    debt: MicroCredits


EVENTS = (CreditsTakenBack, CreditsGivenBack)
ClawBackEvent: TypeAlias = CreditsTakenBack | CreditsGivenBack


class Figures(Struct, frozen=True, kw_only=True):
    """A ledger's figures at some point of a decision."""

    balance: MicroCredits
    held: MicroCredits
    debt: MicroCredits


def figures_of(credits: Ledger) -> Figures:
    """The ledger's figures as they are."""
    return Figures(balance=credits.balance, held=credits.held, debt=credits.debt)


def taken_back(
    figures: Figures, grants: Iterable[Grant], *, payment_id: str, grant_id: str, amount: MicroCredits, reason: str
) -> CreditsTakenBack:
    """Takes `amount` from the named grant, then from the others in burn order, as far as no hold needs it."""
    charged = min(amount, figures.balance - figures.held)
    own_first = sorted(grants, key=lambda grant: grant.id != grant_id)
    return CreditsTakenBack(
        payment_id=payment_id,
        grant_id=grant_id,
        amount=amount,
        charged=charged,
        owed=amount - charged,
        burns=burn_plan(own_first, charged),
        reason=reason,
        balance=figures.balance - charged,
        debt=figures.debt + amount - charged,
    )


def given_back(
    figures: Figures, grant: Grant, *, payment_id: str, amount: MicroCredits, reason: str
) -> CreditsGivenBack:
    """Gives `amount` back on the terms of `grant`, after repaying debt."""
    repaid = min(figures.debt, amount)
    return CreditsGivenBack(
        payment_id=payment_id,
        grant_id=grant.id,
        amount=amount,
        repaid=repaid,
        source=grant.source,
        priority=grant.priority,
        granted_at=grant.granted_at,
        expires_at=grant.expires_at,
        reason=reason,
        balance=figures.balance + amount - repaid,
        debt=figures.debt - repaid,
    )


def evolve(credits: Ledger, event: ClawBackEvent) -> None:
    """Writes what was taken or given back into the ledger."""
    match event:
        case CreditsTakenBack():
            credits.debt += event.owed
            ledger.burn(credits, event.burns)
            ledger.reckon_wake(credits)
        case CreditsGivenBack():
            credits.debt -= event.repaid
            ledger.add_to_grant(credits, _grant(event))


def _grant(event: CreditsGivenBack) -> Grant:
    return Grant(
        id=event.grant_id,
        source=event.source,
        priority=event.priority,
        remaining=event.amount - event.repaid,
        granted_at=event.granted_at,
        expires_at=event.expires_at,
    )
