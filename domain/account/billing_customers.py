"""As whom the billing provider knows the account: one customer with each provider."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from domain.aggregate import Answer
from domain.errors import Full
from domain.instant import Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account

PROVIDERS_MAX = 10


class LinkBillingCustomer(Command, frozen=True, kw_only=True, tag="billing_customer.link"):
    """Says which customer of the provider the account is, unless another is known that is not the one `replaced`."""

    category = "account"
    provider: str
    customer_id: str
    replaced: str | None = None


class BillingCustomerLinked(Event, frozen=True, kw_only=True, tag="billing_customer.linked"):
    """The account is this customer of the provider from now on."""

    provider: str
    customer_id: str
    linked_at: Instant


class BillingCustomers(Struct, kw_only=True, omit_defaults=True):
    """The customer's id by provider."""

    by_provider: dict[str, str] = field(default_factory=dict)


COMMANDS = (LinkBillingCustomer,)
EVENTS = (BillingCustomerLinked,)


def decide(account: "Account", command: LinkBillingCustomer, at: Instant) -> Sequence[BillingCustomerLinked]:
    """The first link holds until somebody who knows it replaces it: two checkouts at once end with one customer."""
    known = account.billing_customers.by_provider
    if known.get(command.provider) not in (None, command.replaced):
        return []
    if command.provider not in known and len(known) >= PROVIDERS_MAX:
        raise Full("too_many_providers", f"An account can be known to {PROVIDERS_MAX} billing providers.")
    return [BillingCustomerLinked(provider=command.provider, customer_id=command.customer_id, linked_at=at)]


def evolve(customers: BillingCustomers, event: BillingCustomerLinked) -> None:
    """Writes the link down."""
    customers.by_provider[event.provider] = event.customer_id


def answer(account: "Account", command: LinkBillingCustomer, events: Sequence[Event]) -> Answer:
    """The customer that the account is."""
    del events
    return {"customer_id": account.billing_customers.by_provider[command.provider]}
