"""Keeps as whom a provider knows each account: read from the read model, linked by a command."""

from api.billing.provider import Told
from api.billing.telling import Teller
from api.command_log.commands import data_of
from api.errors import ApiError
from api.ids import derived
from domain.account.billing_customers import LinkBillingCustomer
from domain.envelope import Actor
from projections.billing_customers import get_billing_customer
from projections.documents import DocumentReader
from projections.subscriptions import SubscriptionView, get_subscription
from telemetry.billing import ProviderName


class Customers:
    """The customers of one provider."""

    def __init__(self, provider: ProviderName, documents: DocumentReader, shards: int, teller: Teller) -> None:
        self._provider = provider
        self._documents = documents
        self._shards = shards
        self._teller = teller

    async def find(self, account_id: str) -> str | None:
        """The customer that the account is, if it is one."""
        return await get_billing_customer(self._documents, self._shards, account_id, self._provider)

    async def subscription(self, account_id: str) -> SubscriptionView:
        """What is known of the account's subscription, whoever has told it."""
        return await get_subscription(self._documents, self._shards, account_id)

    async def link(self, account_id: str, customer_id: str, *, replaced: str | None) -> str:
        """The customer that the account is from now on: another one where somebody was first. 503 `payment_pending`."""
        command = LinkBillingCustomer(provider=self._provider, customer_id=customer_id, replaced=replaced)
        told = Told(
            account_id=account_id,
            command=command,
            command_id=derived("billing_customer.link", account_id, self._provider, customer_id),
        )
        (outcome,) = await self._teller.tell([told], Actor(kind="system", id=self._provider))
        if outcome is None:
            raise ApiError("payment_pending", headers={"Retry-After": "5"})
        return str(data_of(outcome)["customer_id"])
