"""Payments: what money from outside has bought, and how much of it has left again by refunds and disputes.

A payment is one purchase under the id that stays the same from checkout to dispute (at Stripe: the payment intent).
News of it come in any order and more than once, refunds and disputes before the purchase itself as well. So what is
kept are facts, each the newest by `occurred_at`, and what was taken back follows from them alone:

    credits x min(paid, refunded + disputed and not won) / paid, rounded down

All of the money takes exactly all of the credits; part of it takes no fraction of a micro-credit too much. A refund and
a dispute of the same payment never take more than was granted. Of payments for one period of a plan together the same
holds (`paid_periods`).

The state keeps the newest payments. Older ones are forgotten here and not by the log: news of them bring along what the
read model knows, and the state can tell whether that is all there is (decision 0035).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field, structs

from domain.account import credits
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import BALANCE_MAX, AddCredits, CreditsGranted, balance_answer, granted
from domain.account.ledger import Ledger
from domain.account.payment import Bought, Dispute, DisputeStatus, PaidPeriod, Payment
from domain.account.payment_moves import moved, scratch_of
from domain.aggregate import Answer
from domain.errors import Conflict, Full, Invalid
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import AMOUNT_MAX, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

PAYMENTS_MAX = 1_000
"""The payments that an account remembers, the newest; news of an older one say what was known of it."""
RECALLED_MAX = 20
"""Payments for one period of which news of an old one can say what they were."""
DISPUTES_MAX = 20
"""Disputes that one payment can have."""
CENTS_MAX = AMOUNT_MAX // 10_000
"""The largest payment: as many cents as the largest amount of credits is worth."""
SOURCE = "purchase"


class Recalled(Struct, frozen=True, kw_only=True):
    """What the read model knows of a payment and those for the same period, after `told` events of payments."""

    told: int
    payments: Mapping[str, Payment]


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
    period: PaidPeriod | None = None
    """Of a plan's payment: the period that it covers."""
    recalled: Recalled | None = None
    """Where the account may have forgotten what it has heard of the payment already, or of others for its period."""


class RefundPayment(Command, frozen=True, kw_only=True, tag="payment.refund"):
    """How much of the payment was sent back so far, all refunds together."""

    category = "account"
    shed = False
    payment_id: str
    refunded_cents: int
    occurred_at: Instant
    recalled: Recalled | None = None
    """Where the account may have forgotten the payment."""


class DisputePayment(Command, frozen=True, kw_only=True, tag="payment.dispute"):
    """How a dispute stands. Open and lost ones keep `amount_cents` from us, won ones do not."""

    category = "account"
    shed = False
    payment_id: str
    dispute_id: str
    status: DisputeStatus
    amount_cents: int
    occurred_at: Instant
    recalled: Recalled | None = None


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
    period: PaidPeriod | None = None


class PaymentRefunded(Event, frozen=True, kw_only=True, tag="payment.refunded"):
    """`refunded_cents` were sent back so far, as known at `occurred_at`."""

    payment_id: str
    refunded_cents: int
    occurred_at: Instant
    repeated: bool = False
    """Nothing is new but `occurred_at`, before which all else is old: nobody needs to be told."""


class PaymentDisputed(Event, frozen=True, kw_only=True, tag="payment.disputed"):
    """The dispute stands like this, as known at `occurred_at`."""

    payment_id: str
    dispute_id: str
    status: DisputeStatus
    amount_cents: int
    occurred_at: Instant
    repeated: bool = False
    """As of a refund."""


class PaymentRecalled(Event, frozen=True, kw_only=True, tag="payment.recalled"):
    """The account knows a payment again that it had forgotten, as it was."""

    payment_id: str
    payment: Payment


class PaymentReplaced(Event, frozen=True, kw_only=True, tag="payment.replaced"):
    """The period was bought anew, and what had left with this payment was granted anew with that."""

    payment_id: str


class Payments(Struct, kw_only=True, omit_defaults=True):
    """By id, the oldest first."""

    by_id: dict[str, Payment] = field(default_factory=dict)
    told: int = 0
    """How many events there were, of all payments there ever were."""
    forgotten_at: int | None = None
    """Which of them made the account forget a payment, the last time that one did."""


COMMANDS = (ConfirmPayment, RefundPayment, DisputePayment)
EVENTS = (
    PaymentConfirmed,
    PaymentRefunded,
    PaymentDisputed,
    PaymentRecalled,
    PaymentReplaced,
    CreditsTakenBack,
    CreditsGivenBack,
)
"""The last two are written into the ledger by `claw_backs`, and here as what is away of a payment."""
PaymentCommand: TypeAlias = ConfirmPayment | RefundPayment | DisputePayment
PaymentEvent: TypeAlias = (
    PaymentConfirmed
    | PaymentRefunded
    | PaymentDisputed
    | PaymentRecalled
    | PaymentReplaced
    | CreditsTakenBack
    | CreditsGivenBack
)


def decide(account: "Account", command: PaymentCommand, at: Instant) -> Sequence[Event]:
    """The news and what they move; nothing where they are known, or newer ones are.

    `Invalid` on amounts out of range, `Full` where an account or a payment has no room for one more, `Conflict`
    `payment_forgotten` for news that do not say what an old payment was.
    """
    recalled = _recalled(account.payments, command)
    known = account.payments.by_id | {each.payment_id: each.payment for each in recalled}
    payment = known.get(command.payment_id, Payment())
    if isinstance(command, ConfirmPayment):
        news = _confirm(account, command, known, at)
        return [*recalled, *news] if news else []
    found = _refund(payment, command) if isinstance(command, RefundPayment) else _dispute(payment, command)
    if found is None:
        return []
    event, known[command.payment_id] = found
    return [*recalled, event, *moved(known, command.payment_id, scratch_of(account.credits))]


def _recalled(payments: Payments, command: PaymentCommand) -> Sequence[PaymentRecalled]:
    """The payments that the account has forgotten and the news know.

    Nothing was told of them since, or they would be known here: so what was read after the last one was forgotten is
    all there is. What was read before may not be.
    """
    if payments.forgotten_at is None or _knows(payments.by_id.get(command.payment_id), command):
        return []
    if command.recalled is None or command.recalled.told < payments.forgotten_at:
        raise Conflict("payment_forgotten", "The news do not say what the account has forgotten of the payment.")
    found = {
        name: payment
        for name, payment in list(command.recalled.payments.items())[:RECALLED_MAX]
        if name not in payments.by_id or (payment.bought is not None and payments.by_id[name].bought is None)
    }
    # Others may push it out while they are written down: so it comes last, also where it is known.
    own = found.pop(command.payment_id, None) or (payments.by_id.get(command.payment_id) if found else None)
    last = [] if own is None else [PaymentRecalled(payment_id=command.payment_id, payment=own)]
    return [*(PaymentRecalled(payment_id=name, payment=payment) for name, payment in found.items()), *last]


def _knows(payment: Payment | None, command: PaymentCommand) -> bool:
    """Whether the account needs no reminder: others for the same period may have been forgotten without this one."""
    if payment is None or payment.bought is None:
        return False
    return isinstance(command, ConfirmPayment) or payment.bought.period is None


def _confirm(account: "Account", command: ConfirmPayment, known: Mapping[str, Payment], at: Instant) -> Sequence[Event]:
    payment = known.get(command.payment_id, Payment())
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
        period=command.period,
    )
    known = {**known, command.payment_id: structs.replace(payment, bought=_bought(confirmed))}
    scratch = scratch_of(account.credits)
    grants = [_grant(scratch, command, at)] if command.granted else []
    for granted_now in grants:
        credits.evolve(scratch, granted_now)
    return [confirmed, *grants, *moved(known, command.payment_id, scratch)]


def _grant(ledger: Ledger, command: ConfirmPayment, at: Instant) -> CreditsGranted:
    """Not bound by the number of grants: who has paid gets what was bought."""
    if ledger.balance + command.credits > BALANCE_MAX:
        raise Full("balance_too_large", "The account's balance would exceed the largest that is supported.")
    bought = AddCredits(
        grant_id=command.grant_id,
        amount=command.credits,
        source=command.source,
        reference=command.payment_id,
        reason=command.reason,
        priority=command.priority,
        expires_at=command.expires_at,
    )
    return granted(ledger, bought, at)


def _refund(payment: Payment, command: RefundPayment) -> tuple[PaymentRefunded, Payment] | None:
    _require_cents(command.refunded_cents)
    if (command.occurred_at, command.refunded_cents) <= (payment.refunded_at, payment.refunded_cents):
        return None
    refunded = PaymentRefunded(
        payment_id=command.payment_id,
        refunded_cents=command.refunded_cents,
        occurred_at=command.occurred_at,
        repeated=command.refunded_cents == payment.refunded_cents,
    )
    return refunded, structs.replace(payment, refunded_cents=command.refunded_cents)


def _dispute(payment: Payment, command: DisputePayment) -> tuple[PaymentDisputed, Payment] | None:
    _require_cents(command.amount_cents)
    news = Dispute(status=command.status, amount_cents=command.amount_cents, occurred_at=command.occurred_at)
    before = payment.disputes.get(command.dispute_id)
    if before is not None and news.order() <= before.order():
        return None
    if before is None and len(payment.disputes) >= DISPUTES_MAX:
        raise Full("too_many_disputes", f"A payment can have {DISPUTES_MAX} disputes.")
    disputed = PaymentDisputed(
        payment_id=command.payment_id,
        dispute_id=command.dispute_id,
        status=command.status,
        amount_cents=command.amount_cents,
        occurred_at=command.occurred_at,
        repeated=before is not None and (before.status, before.amount_cents) == (command.status, command.amount_cents),
    )
    return disputed, structs.replace(payment, disputes={**payment.disputes, command.dispute_id: news})


def _require_cents(cents: int) -> None:
    if not 0 <= cents <= CENTS_MAX:
        raise Invalid("invalid_amount", f"An amount must lie between 0 and {CENTS_MAX} cents.", param="cents")


def evolve(payments: Payments, event: PaymentEvent) -> None:
    """Writes the news down; beyond the bound the oldest payment is forgotten."""
    payments.by_id[event.payment_id] = told_of(payments.by_id.get(event.payment_id), event)
    payments.told += 1
    if len(payments.by_id) > PAYMENTS_MAX:
        del payments.by_id[next(iter(payments.by_id))]
        payments.forgotten_at = payments.told


def told_of(payment: Payment | None, event: PaymentEvent) -> Payment:
    """The payment as it is known with the event."""
    known = Payment() if payment is None else payment
    match event:
        case PaymentConfirmed():
            return structs.replace(known, bought=_bought(event))
        case PaymentRefunded():
            return structs.replace(known, refunded_cents=event.refunded_cents, refunded_at=event.occurred_at)
        case PaymentDisputed():
            news = Dispute(status=event.status, amount_cents=event.amount_cents, occurred_at=event.occurred_at)
            return structs.replace(known, disputes={**known.disputes, event.dispute_id: news})
        case CreditsTakenBack():
            return structs.replace(known, taken=known.taken + event.amount)
        case CreditsGivenBack():
            return structs.replace(known, taken=known.taken - event.amount)
        case PaymentRecalled():
            return event.payment
        case PaymentReplaced():
            return structs.replace(known, replaced=True)


def _bought(event: PaymentConfirmed) -> Bought:
    return Bought(
        grant_id=event.grant_id,
        credits=event.credits,
        paid_cents=event.paid_cents,
        priority=event.priority,
        expires_at=event.expires_at,
        source=event.source,
        granted_at=event.confirmed_at,
        period=event.period,
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
