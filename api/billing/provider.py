"""What a billing provider is asked, whichever it is.

None of it lies in the path of a metered request: a provider that is away stops purchases, and nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

import api.billing.refusals  # noqa: F401  # declares what providers and purchases are refused with
from api.plans import Plan, TopUp
from domain.instant import Instant
from domain.message import Command
from domain.money import MicroCredits
from telemetry.billing import ProviderName


class Purchase(Struct, frozen=True, kw_only=True):
    """What somebody wants to buy: a plan (for so many seats) or a top-up, by their ids in the plan file."""

    account_id: str
    plan: str | None
    top_up: str | None
    seats: int
    success_url: str
    cancel_url: str
    repeat_key: str
    """The same for a repeat of the same request, so that it leads to the same page."""
    trial: bool = True
    """Whether the account may have a trial: an organization has none, since a person can make many of them."""


class Checkout(Struct, frozen=True, kw_only=True):
    """A page on which the purchase is paid. The id is what `POST /billing/checkout/process` takes."""

    url: str
    session_id: str
    expires_at: Instant | None


class Told(Struct, frozen=True, kw_only=True):
    """What the provider stands for, as a command that has the same id however often it is told."""

    account_id: str
    command: Command
    command_id: str


class Claim(Struct, frozen=True, kw_only=True):
    """A client says that it has paid: its account, the checkout, and what it believes to get, if it says so."""

    account_id: str
    session_id: str
    amount: MicroCredits | None


class Webhook(Struct, frozen=True, kw_only=True):
    """A provider's message as it came: the body's bytes, since they are what is signed, and the headers by name."""

    body: bytes
    headers: Mapping[str, str]


class BillingProvider(Protocol):
    """One provider. Every method may raise 503 `billing_unavailable` (with `Retry-After`) or 503 `not_configured`."""

    name: ProviderName

    def changes_in_portal(self, reference: str) -> bool:
        """Whether the subscription of the latest news, by their reference, is changed in its portal alone."""
        ...

    def sells(self, thing: Plan | TopUp) -> bool:
        """Whether a checkout of it can be begun, as far as the plan file tells."""
        ...

    async def checkout(self, purchase: Purchase) -> Checkout:
        """Begins a purchase. 400 `not_for_sale` for what this provider does not sell."""
        ...

    async def portal(self, account_id: str, return_url: str) -> str:
        """The address at which the customer changes cards and ends the subscription, good for a few minutes."""
        ...

    async def paid(self, claim: Claim) -> Sequence[Told]:
        """What the provider knows of a checkout that a client says is paid.

        403 for another account's or another amount, 402 for one that is unpaid or has expired.
        """
        ...

    async def news(self, webhook: Webhook) -> Sequence[Told]:
        """What a webhook was about, looked up; empty where it concerns nothing here. 400 `invalid_signature`."""
        ...

    async def look(self, tell: Callable[[Sequence[Told]], Awaitable[object]]) -> None:
        """Tells what it does not tell by itself; what fails is told the next time. For who tells all: nothing."""
        ...

    async def end_seconds(self, account_id: str) -> None:
        """Ends what the account has bought twice, and sends its money back; to be repeated where it fails."""
        ...

    async def end_subscriptions(self, account_id: str) -> None:
        """Ends at once what it bills the account for, where it can be told to."""
        ...

    async def close(self) -> None:
        """Ends its connections."""
        ...
