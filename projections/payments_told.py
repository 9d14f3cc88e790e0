"""How many events of payments an account has had: by this it is known whether what was read of one is all there is."""

from msgspec import Struct

from domain.account.payments import EVENTS
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class PaymentsTold(Struct, frozen=True, kw_only=True):
    """Counted as the account counts them (`Payments.told`)."""

    account_id: str
    told: int


def _evolve(view: PaymentsTold | None, recorded: Recorded) -> PaymentsTold | None:
    return PaymentsTold(account_id=recorded.entity_id, told=(0 if view is None else view.told) + 1)


PROJECTION = Projection(
    collection="payments_told",
    version=1,
    document=PaymentsTold,
    events=EVENTS,
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    listed=False,
)


async def get_payments_told(documents: DocumentReader, shards: int, account_id: str) -> int:
    """How many there were."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return 0 if doc is None else PROJECTION.decode(doc).told
