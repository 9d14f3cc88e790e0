"""Payments: what money from outside has bought, and how much of it has left again by refunds and disputes.

A payment is one purchase under the id that stays the same from checkout to dispute (at Stripe: the payment intent).
News of it come in any order and more than once, refunds and disputes before the purchase itself as well. So what is
kept are facts, each the newest by `occurred_at`, and what was taken back follows from them alone:

    credits x min(paid, refunded + disputed and not won) / paid, rounded down

All of the money takes exactly all of the credits; part of it takes no fraction of a micro-credit too much. A refund and
a dispute of the same payment never take more than was granted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field, structs

from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack, Figures, given_back, taken_back
from domain.account.credits import BALANCE_MAX, CreditsGranted, balance_answer
from domain.account.ledger import Grant, Ledger
from domain.account.payment import Bought, Dispute, DisputeStatus, Payment
from domain.aggregate import Answer
from domain.errors import Full, Invalid
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import AMOUNT_MAX, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

PAYMENTS_MAX = 1_000
"""The payments that an account remembers, the newest; a refund of an older one takes nothing back by itself."""
DISPUTES_MAX = 20
"""Disputes that one payment can have."""
CENTS_MAX = AMOUNT_MAX // 10_000
"""The largest payment: as many cents as the largest amount of credits is worth."""
SOURCE = "purchase"


class ConfirmPayment(Command, frozen=True, kw_only=True, tag="payment.confirm"):
    """Money has come in. Grants what it bought, once, unless something else grants that (`granted` is false)."""

    category = "account"
    shed = False  # it has happened, whether we are busy or not
    payment_id: str
    grant_id: str
    credits: MicroCredits
    paid_cents: int
    occurred_at: Instant
    reason: str | None = None
    priority: int = 100
    expires_at: Instant | None = None
    source: str = SOURCE
    granted: bool = True


class RefundPayment(Command, frozen=True, kw_only=True, tag="payment.refund"):
    """How much of the payment was sent back so far, all refunds together."""

    category = "account"
    shed = False
    payment_id: str
    refunded_cents: int
    occurred_at: Instant


class DisputePayment(Command, frozen=True, kw_only=True, tag="payment.dispute"):
    """How a dispute stands. Open and lost ones keep `amount_cents` from us, won ones do not."""

    category = "account"
    shed = False
    payment_id: str
    dispute_id: str
    status: DisputeStatus
    amount_cents: int
    occurred_at: Instant


class PaymentConfirmed(Event, frozen=True, kw_only=True, tag="payment.confirmed"):
    """The payment is known, with what it bought; the credits themselves are another event."""

    payment_id: str
    grant_id: str
    credits: MicroCredits
    paid_cents: int
    occurred_at: Instant
    priority: int
    expires_at: Instant | None
    source: str
    granted: bool
    confirmed_at: Instant


class PaymentRefunded(Event, frozen=True, kw_only=True, tag="payment.refunded"):
    """`refunded_cents` were sent back so far, as known at `occurred_at`."""

    payment_id: str
    refunded_cents: int
    occurred_at: Instant


class PaymentDisputed(Event, frozen=True, kw_only=True, tag="payment.disputed"):
    """The dispute stands like this, as known at `occurred_at`."""

    payment_id: str
    dispute_id: str
    status: DisputeStatus
    amount_cents: int
    occurred_at: Instant


class Payments(Struct, kw_only=True, omit_defaults=True):
    """By id, the oldest first."""

    by_id: dict[str, Payment] = field(default_factory=dict)


COMMANDS = (ConfirmPayment, RefundPayment, DisputePayment)
EVENTS = (PaymentConfirmed, PaymentRefunded, PaymentDisputed, CreditsTakenBack, CreditsGivenBack)
"""The last two are written into the ledger by `claw_backs`, and here as what is away of a payment."""
PaymentCommand: TypeAlias = ConfirmPayment | RefundPayment | DisputePayment
PaymentEvent: TypeAlias = PaymentConfirmed | PaymentRefunded | PaymentDisputed | CreditsTakenBack | CreditsGivenBack


def decide(account: "Account", command: PaymentCommand, at: Instant) -> Sequence[Event]:
    """The news and what they move; nothing where they are known, or newer ones are.

    `Invalid` on amounts out of range, `Full` where an account or a payment has no room for one more.
    """
    payment = account.payments.by_id.get(command.payment_id, Payment())
    match command:
        case ConfirmPayment():
            return _confirm(account.credits, payment, command, at)
        case RefundPayment():
            return _refund(account.credits, payment, command)
        case DisputePayment():
            return _dispute(account.credits, payment, command)


def _confirm(credits: Ledger, payment: Payment, command: ConfirmPayment, at: Instant) -> Sequence[Event]:
    if payment.bought is not None:
        return []
    if not 0 < command.credits <= AMOUNT_MAX:
        raise Invalid("invalid_amount", "credits must be positive and at most 1000000000.", param="credits")
    _require_cents(command.paid_cents)
    confirmed = PaymentConfirmed(
        payment_id=command.payment_id,
        grant_id=command.grant_id,
        credits=command.credits,
        paid_cents=command.paid_cents,
        occurred_at=command.occurred_at,
        priority=command.priority,
        expires_at=command.expires_at,
        source=command.source,
        granted=command.granted,
        confirmed_at=at,
    )
    known = structs.replace(payment, bought=_bought(confirmed))
    if not command.granted:
        return [confirmed, *_moved(command.payment_id, known, figures_of(credits), tuple(credits.grants.values()))]
    granted = _grant(credits, command, at)
    after = Figures(balance=granted.balance, held=credits.held, debt=granted.debt)
    grants = (_own_grant(known, granted.amount - granted.repaid), *credits.grants.values())
    return [confirmed, granted, *_moved(command.payment_id, known, after, grants)]


def _grant(credits: Ledger, command: ConfirmPayment, at: Instant) -> CreditsGranted:
    """Not bound by the number of grants: who has paid gets what was bought."""
    if credits.balance + command.credits > BALANCE_MAX:
        raise Full("balance_too_large", "The account's balance would exceed the largest that is supported.")
    repaid = min(credits.debt, command.credits)
    return CreditsGranted(
        grant_id=command.grant_id,
        amount=command.credits,
        repaid=repaid,
        source=command.source,
        reference=command.payment_id,
        reason=command.reason,
        priority=command.priority,
        expires_at=command.expires_at,
        granted_at=at,
        balance=credits.balance + command.credits - repaid,
        debt=credits.debt - repaid,
    )


def _refund(credits: Ledger, payment: Payment, command: RefundPayment) -> Sequence[Event]:
    _require_cents(command.refunded_cents)
    if (command.occurred_at, command.refunded_cents) <= (payment.refunded_at, payment.refunded_cents):
        return []
    refunded = PaymentRefunded(
        payment_id=command.payment_id, refunded_cents=command.refunded_cents, occurred_at=command.occurred_at
    )
    known = structs.replace(payment, refunded_cents=command.refunded_cents)
    return [refunded, *_moved(command.payment_id, known, figures_of(credits), tuple(credits.grants.values()))]


def _dispute(credits: Ledger, payment: Payment, command: DisputePayment) -> Sequence[Event]:
    _require_cents(command.amount_cents)
    news = Dispute(status=command.status, amount_cents=command.amount_cents, occurred_at=command.occurred_at)
    before = payment.disputes.get(command.dispute_id)
    if before is not None and news.order() <= before.order():
        return []
    if before is None and len(payment.disputes) >= DISPUTES_MAX:
        raise Full("too_many_disputes", f"A payment can have {DISPUTES_MAX} disputes.")
    disputed = PaymentDisputed(
        payment_id=command.payment_id,
        dispute_id=command.dispute_id,
        status=command.status,
        amount_cents=command.amount_cents,
        occurred_at=command.occurred_at,
    )
    known = structs.replace(payment, disputes=payment.disputes | {command.dispute_id: news})
    return [disputed, *_moved(command.payment_id, known, figures_of(credits), tuple(credits.grants.values()))]


def _require_cents(cents: int) -> None:
    if not 0 <= cents <= CENTS_MAX:
        raise Invalid("invalid_amount", f"An amount must lie between 0 and {CENTS_MAX} cents.", param="cents")


def _moved(
    payment_id: str, known: Payment, figures: Figures, grants: Sequence[Grant]
) -> Sequence[CreditsTakenBack | CreditsGivenBack]:
    """What brings the credits in line with what is known of the payment."""
    amount = known.to_take() - known.taken
    if amount == 0 or known.bought is None:
        return []
    if amount > 0:
        reason = "disputed" if any(each.status != "won" for each in known.disputes.values()) else "refunded"
        return [
            taken_back(
                figures, grants, payment_id=payment_id, grant_id=known.bought.grant_id, amount=amount, reason=reason
            )
        ]
    reason = "dispute won" if any(each.status == "won" for each in known.disputes.values()) else "refund failed"
    return [given_back(figures, _own_grant(known, 0), payment_id=payment_id, amount=-amount, reason=reason)]


def figures_of(credits: Ledger) -> Figures:
    """The ledger's figures as they are."""
    return Figures(balance=credits.balance, held=credits.held, debt=credits.debt)


def _own_grant(payment: Payment, remaining: MicroCredits) -> Grant:
    bought = payment.bought
    assert bought is not None
    return Grant(
        id=bought.grant_id,
        source=bought.source,
        priority=bought.priority,
        remaining=remaining,
        granted_at=bought.granted_at,
        expires_at=bought.expires_at,
    )


def evolve(payments: Payments, event: PaymentEvent) -> None:
    """Writes the news down; beyond the bound the oldest payment is forgotten."""
    payment = payments.by_id.setdefault(event.payment_id, Payment())
    match event:
        case PaymentConfirmed():
            payment.bought = _bought(event)
        case PaymentRefunded():
            payment.refunded_cents, payment.refunded_at = event.refunded_cents, event.occurred_at
        case PaymentDisputed():
            payment.disputes[event.dispute_id] = Dispute(
                status=event.status, amount_cents=event.amount_cents, occurred_at=event.occurred_at
            )
        case CreditsTakenBack():
            payment.taken += event.amount
        case CreditsGivenBack():
            payment.taken -= event.amount
    if len(payments.by_id) > PAYMENTS_MAX:
        del payments.by_id[next(iter(payments.by_id))]


def _bought(event: PaymentConfirmed) -> Bought:
    return Bought(
        grant_id=event.grant_id,
        credits=event.credits,
        paid_cents=event.paid_cents,
        priority=event.priority,
        expires_at=event.expires_at,
        source=event.source,
        granted_at=event.confirmed_at,
    )


def answer(account: "Account", command: PaymentCommand, events: Sequence[Event]) -> Answer:
    """What the payment bought (if that is known), what is away of it, and the account's figures."""
    del events
    payment = account.payments.by_id.get(command.payment_id, Payment())
    bought = payment.bought
    return {
        "payment_id": command.payment_id,
        "known": bought is not None,
        "credits": 0 if bought is None else bought.credits,
        "taken": payment.taken,
    } | balance_answer(account.credits)
