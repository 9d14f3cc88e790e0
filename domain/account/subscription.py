"""The subscription of an account: which plan was paid for, as the payment side confirmed it.

News come in any order and more than once; the latest by `occurred_at`, and of one moment by `reference`, is what holds,
so that every order of arrival ends in the same state.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from domain.account.plan_terms import FREE, SEATS_MAX, PlanTerms
from domain.aggregate import Answer
from domain.errors import Invalid
from domain.instant import Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account

SubscriptionStatus: TypeAlias = Literal["trialing", "active", "past_due", "canceled"]


class ConfirmSubscription(Command, frozen=True, kw_only=True, tag="subscription.confirm"):
    """Tells what was paid for. Its command id is derived from account and reference, so one reference counts once."""

    category = "account"
    shed = False  # it has happened, whether we are busy or not
    plan: str
    status: SubscriptionStatus
    terms: PlanTerms
    occurred_at: Instant
    reference: str
    period_start: Instant | None = None
    period_end: Instant | None = None
    seats: int | None = None


class SubscriptionConfirmed(Event, frozen=True, kw_only=True, tag="subscription.confirmed"):
    """The subscription as it is from now on; `occurred_at` is when the payment side saw it."""

    plan: str
    status: SubscriptionStatus
    terms: PlanTerms
    occurred_at: Instant
    reference: str
    period_start: Instant | None
    period_end: Instant | None
    seats: int | None
    confirmed_at: Instant


class Subscription(Struct, kw_only=True):
    """The latest news. `terms` is `None` while nothing was ever confirmed: the plan is free then."""

    plan: str = FREE
    status: SubscriptionStatus = "active"
    terms: PlanTerms | None = None
    occurred_at: Instant = -1
    reference: str = ""
    period_start: Instant | None = None
    period_end: Instant | None = None
    seats: int | None = None


COMMANDS = (ConfirmSubscription,)
EVENTS = (SubscriptionConfirmed,)


def decide(account: "Account", command: ConfirmSubscription, at: Instant) -> Sequence[SubscriptionConfirmed]:
    """The news, unless newer ones are known: then nothing. `Invalid` on a period or a number of seats that is none."""
    check(command)
    known = account.subscription
    if (command.occurred_at, command.reference) <= (known.occurred_at, known.reference):
        return []
    return [
        SubscriptionConfirmed(
            plan=command.plan,
            status=command.status,
            terms=command.terms,
            occurred_at=command.occurred_at,
            reference=command.reference,
            period_start=command.period_start,
            period_end=command.period_end,
            seats=command.seats,
            confirmed_at=at,
        )
    ]


def check(command: ConfirmSubscription) -> None:
    """`Invalid` on what can never be right. Whoever sends the command asks first: a refusal would be final."""
    start, end, seats = command.period_start, command.period_end, command.seats
    if start is not None and end is not None and start >= end:
        raise Invalid("invalid_subscription", "period_start must lie before period_end.", param="period_end")
    most = SEATS_MAX if command.terms.seats is None else command.terms.seats
    if seats is not None and not 1 <= seats <= most:
        raise Invalid("invalid_subscription", f"seats must be 1 to {most} with this plan.", param="seats")


def evolve(subscription: Subscription, event: SubscriptionConfirmed) -> None:
    """Writes the news down."""
    subscription.plan = event.plan
    subscription.status = event.status
    subscription.terms = event.terms
    subscription.occurred_at = event.occurred_at
    subscription.reference = event.reference
    subscription.period_start = event.period_start
    subscription.period_end = event.period_end
    subscription.seats = event.seats


def answer(account: "Account", _command: ConfirmSubscription, events: Sequence[Event]) -> Answer:
    """Whether the news were news, and the subscription after them."""
    now = account.subscription
    return {
        "applied": any(isinstance(event, SubscriptionConfirmed) for event in events),
        "plan": now.plan,
        "status": now.status,
        "period_start": now.period_start,
        "period_end": now.period_end,
        "seats": now.seats,
        "occurred_at": now.occurred_at,
        "reference": now.reference,
    }
