"""The subscription of an account, as the payment side last confirmed it."""

from msgspec import Struct

from domain.account.plan_terms import FREE, PlanTerms
from domain.account.subscription import SubscriptionConfirmed, SubscriptionStatus
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class SubscriptionView(Struct, frozen=True, kw_only=True):
    """The latest news. `terms` is what the plan allowed then; `None` where nothing was ever confirmed."""

    account_id: str
    plan: str = FREE
    status: SubscriptionStatus = "active"
    terms: PlanTerms | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None
    seats: int | None = None
    occurred_at: Instant | None = None
    reference: str | None = None

    @property
    def plan_in_force(self) -> str:
        """A canceled subscription leaves the free plan; one that is past due goes on until the payment side ends it."""
        return FREE if self.status == "canceled" else self.plan


def _evolve(view: SubscriptionView | None, recorded: Recorded) -> SubscriptionView | None:
    event = recorded.event
    if not isinstance(event, SubscriptionConfirmed):
        return view
    return SubscriptionView(
        account_id=recorded.entity_id,
        plan=event.plan,
        status=event.status,
        terms=event.terms,
        period_start=event.period_start,
        period_end=event.period_end,
        seats=event.seats,
        occurred_at=event.occurred_at,
        reference=event.reference,
    )


PROJECTION = Projection(
    collection="subscriptions",
    version=1,
    document=SubscriptionView,
    events=[SubscriptionConfirmed],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    begun_by=[SubscriptionConfirmed],
)


async def get_subscription(documents: DocumentReader, shards: int, account_id: str) -> SubscriptionView:
    """The account's subscription; one that never subscribed is on the free plan."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return SubscriptionView(account_id=account_id) if doc is None else PROJECTION.decode(doc)
