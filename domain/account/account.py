"""The account of a user or an organization as one consistency boundary: its parts, and who decides and evolves what.

A part is a module with `COMMANDS`, `EVENTS`, `decide`, `evolve` and `answer`. Its `decide` may read the whole account,
its `evolve` writes only its own field. A new part is its file, a field in `Account`, and a line in `PARTS`; what only
writes down the events of others is a line in `FOLLOWERS`.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from domain.account import (
    api_key_spending,
    api_key_use,
    api_keys,
    billing_customers,
    claw_backs,
    credits,
    holds,
    payments,
    preferences,
    quota_counts,
    quotas,
    standing,
    subscription,
    subscription_change,
)
from domain.account.api_key_spending import ApiKeySpending
from domain.account.api_key_use import ApiKeyUse
from domain.account.api_keys import ApiKeys
from domain.account.billing_customers import BillingCustomers
from domain.account.ledger import Ledger
from domain.account.payments import Payments
from domain.account.preferences import Preferences
from domain.account.quotas import Quotas
from domain.account.standing import Standing
from domain.account.subscription import Subscription
from domain.aggregate import Aggregate, Answer
from domain.instant import Instant
from domain.message import Command, Event


class Account(Struct, kw_only=True):
    """All parts. An account that was never written is a free account with nothing in it."""

    credits: Ledger = field(default_factory=Ledger)
    api_keys: ApiKeys = field(default_factory=ApiKeys)
    subscription: Subscription = field(default_factory=Subscription)
    standing: Standing = field(default_factory=Standing)
    api_key_spending: ApiKeySpending = field(default_factory=ApiKeySpending)
    api_key_use: ApiKeyUse = field(default_factory=ApiKeyUse)
    preferences: Preferences = field(default_factory=Preferences)
    payments: Payments = field(default_factory=Payments)
    billing_customers: BillingCustomers = field(default_factory=BillingCustomers)
    quotas: Quotas = field(default_factory=Quotas)


PARTS: tuple[tuple[str, Any], ...] = (
    ("credits", credits),
    ("credits", holds),
    ("api_keys", api_keys),
    ("subscription", subscription),
    ("subscription", subscription_change),
    ("standing", standing),
    ("api_key_use", api_key_use),
    ("preferences", preferences),
    ("payments", payments),
    ("billing_customers", billing_customers),
    ("quotas", quotas),
)
"""The field that a part writes, and the part."""

FOLLOWERS: tuple[tuple[str, Any], ...] = (
    ("api_key_spending", api_key_spending),
    ("credits", claw_backs),
    ("quotas", quota_counts),
)
"""Parts without commands and events of their own: their `EVENTS` are those of others that they write down as well."""

_BEGINNINGS = frozenset({holds.PlaceHold, api_keys.CreateApiKey})
"""What a suspended account may not even have decided; everything else it is refused by the API."""

_PART_OF_COMMAND = {command: part for _, part in PARTS for command in part.COMMANDS}
_PARTS_OF_EVENT: dict[type[Event], tuple[tuple[str, Any], ...]] = {
    event: tuple((name, each) for name, each in PARTS + FOLLOWERS if event in each.EVENTS)
    for _, part in PARTS
    for event in part.EVENTS
}


def decide(account: Account, command: Command, at: Instant) -> Sequence[Event]:
    """The events of the command's part. `Suspended` for what begins something in a suspended account."""
    if account.standing.suspended_at is not None and type(command) in _BEGINNINGS:
        standing.require_good(account)
    events: Sequence[Event] = _PART_OF_COMMAND[type(command)].decide(account, command, at)
    return events


def evolve(account: Account, event: Event) -> Account:
    """Lets the part that owns the event, and those that follow it, write it down."""
    for name, part in _PARTS_OF_EVENT[type(event)]:
        part.evolve(getattr(account, name), event)
    return account


def answer(account: Account, command: Command, events: Sequence[Event]) -> Answer:
    """The answer of the part that the command belongs to."""
    data: Answer = _PART_OF_COMMAND[type(command)].answer(account, command, events)
    return data


def due(account: Account, at: Instant) -> Sequence[Event]:
    """What time alone has caused by `at`: holds expired one by one, debt repaid, grants run out, periods over.

    And last what is true now and was not told yet: that the balance is low.
    """
    wake_at = next_due(account)
    if account.credits.debt == 0 and (wake_at is None or wake_at > at):
        return quotas.low(account, at)
    expired = holds.due(account.credits, at)
    if expired:
        return [expired]
    return credits.due(account.credits, at) or subscription_change.due(account, at) or quotas.low(account, at)


def next_due(account: Account) -> Instant | None:
    """When the account next changes by itself."""
    money, plan = account.credits.wake_at, account.subscription.wake_at
    if money is None or plan is None:
        return plan if money is None else money
    return min(money, plan)


AGGREGATE = Aggregate(
    category="account",
    state=Account,
    commands=[command for _, part in PARTS for command in part.COMMANDS],
    events=[event for _, part in PARTS for event in part.EVENTS],
    decide=decide,
    evolve=evolve,
    answer=answer,
    due=due,
    next_due=next_due,
    sweep=holds.Sweep,
    state_version=10,
)
