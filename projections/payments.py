"""Every payment of an account, with what has left of it: also those that the account itself has forgotten."""

from msgspec import Struct

from domain.account.paid_periods import NEAR, near
from domain.account.payment import PaidPeriod, Payment
from domain.account.payments import EVENTS, RECALLED_MAX, Recalled, told_of
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page, read_period
from projections.projection import Projection

PAGE = 100


class PaymentView(Struct, frozen=True, kw_only=True):
    """A payment. `occurred_at` is that of the purchase; while that is not known, of the last that left."""

    id: str
    account_id: str
    occurred_at: Instant
    payment: Payment


def _evolve(view: PaymentView | None, recorded: Recorded) -> PaymentView | None:
    event = recorded.event
    if not isinstance(event, EVENTS):
        return view
    return PaymentView(
        id=event.payment_id,
        account_id=recorded.entity_id,
        occurred_at=_occurred_at(view, recorded),
        payment=told_of(None if view is None else view.payment, event),
    )


def _occurred_at(view: PaymentView | None, recorded: Recorded) -> Instant:
    event = recorded.event
    if view is not None and view.payment.bought is not None:
        return view.occurred_at
    return getattr(event, "occurred_at", recorded.at)


def _key(recorded: Recorded) -> str | None:
    return recorded.event.payment_id if isinstance(recorded.event, EVENTS) else None


PROJECTION = Projection(
    collection="payments",
    version=1,
    document=PaymentView,
    events=EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    sort=lambda view: instant_sort(view.occurred_at),
)


async def list_payments(
    documents: DocumentReader, shards: int, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[PaymentView]:
    """The account's payments, newest first."""
    return await read_page(documents, PROJECTION, shards, f"account:{account_id}", limit=limit, after=after)


async def recall(
    documents: DocumentReader,
    shards: int,
    account_id: str,
    payment_id: str,
    *,
    told: int,
    buying: tuple[Instant, PaidPeriod] | None = None,
) -> Recalled:
    """What is known of a payment and of those for the same period; `buying` says when and for which, if it is new.

    `told` is how much was told, read before this (`get_payments_told`): so all of that is in what is read here.
    """
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), payment_id)
    found = None if doc is None else PROJECTION.decode(doc)
    if found is not None and found.account_id != account_id:
        return Recalled(told=told, payments={})
    together = {} if found is None else {payment_id: found.payment}
    bought = None if found is None else found.payment.bought
    if found is not None and bought is not None:
        buying = None if bought.period is None else (found.occurred_at, bought.period)
    if buying is not None:
        occurred_at, period = buying
        first, last = occurred_at - 3 * NEAR, occurred_at + 3 * NEAR
        async for each in read_period(
            documents, PROJECTION, shards, f"account:{account_id}", max(first, 0), last, page=PAGE
        ):
            other = each.payment.bought
            if len(together) < RECALLED_MAX and other is not None and other.period and near(other.period, period):
                together[each.id] = each.payment
    return Recalled(told=told, payments=together)
