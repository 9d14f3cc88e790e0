"""As whom billing providers know an account."""

from msgspec import Struct

from domain.account.billing_customers import BillingCustomerLinked
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, read_page
from projections.projection import Projection


class BillingCustomerView(Struct, frozen=True, kw_only=True):
    """The account as a customer of one provider."""

    account_id: str
    provider: str
    customer_id: str
    linked_at: Instant


def _key_of(account_id: str, provider: str) -> str:
    return f"{account_id}@{provider}"


def _key(recorded: Recorded) -> str | None:
    event = recorded.event
    return _key_of(recorded.entity_id, event.provider) if isinstance(event, BillingCustomerLinked) else None


def _evolve(view: BillingCustomerView | None, recorded: Recorded) -> BillingCustomerView | None:
    event = recorded.event
    if not isinstance(event, BillingCustomerLinked):
        return view
    return BillingCustomerView(
        account_id=recorded.entity_id,
        provider=event.provider,
        customer_id=event.customer_id,
        linked_at=event.linked_at,
    )


PROJECTION = Projection(
    collection="billing_customers",
    version=1,
    document=BillingCustomerView,
    events=[BillingCustomerLinked],
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    sort=lambda view: view.provider,
    begun_by=[BillingCustomerLinked],
)


async def get_billing_customer(documents: DocumentReader, shards: int, account_id: str, provider: str) -> str | None:
    """The id under which the provider knows the account, if it does."""
    shard = shard_of(f"account:{account_id}", shards)
    doc = await documents.get(PROJECTION.collection, shard, _key_of(account_id, provider))
    return None if doc is None else PROJECTION.decode(doc).customer_id


async def list_billing_customers(
    documents: DocumentReader, shards: int, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[BillingCustomerView]:
    """All that the account is to providers."""
    return await read_page(documents, PROJECTION, shards, f"account:{account_id}", limit=limit, after=after)
