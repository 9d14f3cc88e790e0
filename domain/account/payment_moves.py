"""What news of a payment move in the ledger: credits that leave with its money, and that come back with it."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from domain.account import claw_backs
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack, figures_of, given_back, taken_back
from domain.account.ledger import Grant, Ledger
from domain.account.paid_periods import to_take
from domain.account.payment import Bought, Payment
from domain.message import Event
from domain.money import MicroCredits


def scratch_of(ledger: Ledger) -> Ledger:
    """The ledger's money, to reckon on: several movements of one decision follow each other."""
    grants = {name: structs.replace(grant) for name, grant in ledger.grants.items()}
    return Ledger(balance=ledger.balance, held=ledger.held, debt=ledger.debt, grants=grants)


def moved(known: Mapping[str, Payment], payment_id: str, scratch: Ledger) -> Sequence[Event]:
    """What brings the credits in line with what is known of the payment; what comes back comes first."""
    if known[payment_id].bought is None:
        return []
    differences = {name: away - known[name].taken for name, away in to_take(known, payment_id).items()}
    events = []
    for name, amount in sorted(differences.items(), key=lambda each: each[1]):
        if amount:
            event = _move(name, known[name], amount, scratch)
            claw_backs.evolve(scratch, event)
            events.append(event)
    return events


def _move(
    payment_id: str, payment: Payment, amount: MicroCredits, scratch: Ledger
) -> CreditsTakenBack | CreditsGivenBack:
    assert payment.bought is not None
    figures = figures_of(scratch)
    if amount > 0:
        disputed = any(each.status != "won" for each in payment.disputes.values())
        return taken_back(
            figures,
            scratch.grants.values(),
            payment_id=payment_id,
            grant_id=payment.bought.grant_id,
            amount=amount,
            reason="disputed" if disputed else "refunded",
        )
    return given_back(figures, _own_grant(payment.bought), payment_id=payment_id, amount=-amount, reason=_back(payment))


def _back(payment: Payment) -> str:
    """Why credits come back."""
    if any(each.status == "won" for each in payment.disputes.values()):
        return "dispute won"
    return "refund failed" if payment.gone() < payment.taken else "paid twice"


def _own_grant(bought: Bought) -> Grant:
    return Grant(
        id=bought.grant_id,
        source=bought.source,
        priority=bought.priority,
        remaining=0,
        granted_at=bought.granted_at,
        expires_at=bought.expires_at,
    )
