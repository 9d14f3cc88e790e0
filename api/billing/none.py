"""No provider: plans and credits come by `PUT /billing/subscription` and `POST /billing/credits/add` alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from api.billing.provider import Checkout, Claim, Purchase, Told, Webhook
from api.errors import ApiError
from api.plans import Plan, TopUp
from telemetry.billing import ProviderName


class NoProvider:
    """Sells nothing, and believes nobody: each question is 503 `not_configured`."""

    name: ProviderName = "none"

    def changes_in_portal(self, reference: str) -> bool:
        """See `BillingProvider`."""
        del reference
        return False

    def sells(self, thing: Plan | TopUp) -> bool:
        """See `BillingProvider`: all that has a price, by the operator's own means."""
        del thing
        return True

    async def checkout(self, purchase: Purchase) -> Checkout:
        """See `BillingProvider`."""
        del purchase
        _refuse()

    async def portal(self, account_id: str, return_url: str) -> str:
        """See `BillingProvider`."""
        del account_id, return_url
        _refuse()

    async def paid(self, claim: Claim) -> Sequence[Told]:
        """See `BillingProvider`."""
        del claim
        _refuse()

    async def news(self, webhook: Webhook) -> Sequence[Told]:
        """See `BillingProvider`."""
        del webhook
        _refuse()

    async def look(self, tell: Callable[[Sequence[Told]], Awaitable[object]]) -> None:
        """See `BillingProvider`: it knows nothing."""
        del tell

    async def end_seconds(self, account_id: str) -> None:
        """See `BillingProvider`: it bills nobody."""
        del account_id

    async def end_subscriptions(self, account_id: str) -> None:
        """See `BillingProvider`: it bills nobody."""
        del account_id

    async def close(self) -> None:
        """See `BillingProvider`."""


def _refuse() -> NoReturn:
    raise ApiError("not_configured")
