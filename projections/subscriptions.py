"""The subscription of an account, as the payment side last confirmed it, and as time and its owner have changed it."""

from msgspec import Struct, structs

from domain.account.plan_terms import FREE, PlanTerms
from domain.account.subscription import (
    ScheduledChange,
    SubscriptionConfirmed,
    SubscriptionScheduled,
    SubscriptionStatus,
)
from domain.account.subscription_change import SubscriptionChanged, SubscriptionRenewed
from domain.account.subscription_period import PeriodCredits
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class SubscriptionView(Struct, frozen=True, kw_only=True):
    """As it stands. `terms` is what the plan allowed when it was confirmed; `None` where nothing ever was."""

    account_id: str
    plan: str = FREE
    status: SubscriptionStatus = "active"
    terms: PlanTerms | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None
    seats: int | None = None
    occurred_at: Instant | None = None
    reference: str | None = None
    renews_by_itself: bool | None = None
    grace_until: Instant | None = None
    scheduled: ScheduledChange | None = None
    period_credits: PeriodCredits | None = None
    """What its last period has been granted in all."""

    @property
    def plan_in_force(self) -> str:
        """A canceled subscription leaves the free plan; one that is past due goes on until its grace is over."""
        return FREE if self.status == "canceled" else self.plan


def _evolve(view: SubscriptionView | None, recorded: Recorded) -> SubscriptionView | None:
    match recorded.event:
        case SubscriptionConfirmed() as event:
            return _confirmed(view, recorded.entity_id, event)
        case SubscriptionRenewed() as event if view is not None:
            return structs.replace(
                view,
                period_start=event.period_start,
                period_end=event.period_end,
                period_credits=event.period_credits or view.period_credits,
            )
        case SubscriptionChanged() as event if view is not None:
            ended = event.reason in ("scheduled", "requested") or event.status == "canceled"
            return structs.replace(
                view,
                plan=event.plan,
                status=event.status,
                terms=event.terms,
                seats=event.seats,
                grace_until=event.grace_until,
                occurred_at=max(view.occurred_at or 0, event.asked_at or 0),
                scheduled=None if ended else view.scheduled,
            )
        case SubscriptionScheduled() as event if view is not None:
            return structs.replace(view, scheduled=event.change)
        case _:
            return view


def _confirmed(view: SubscriptionView | None, account_id: str, event: SubscriptionConfirmed) -> SubscriptionView:
    granted = None if view is None else view.period_credits
    return SubscriptionView(
        account_id=account_id,
        plan=event.plan,
        status=event.status,
        terms=event.terms,
        period_start=event.period_start,
        period_end=event.period_end,
        seats=event.seats,
        occurred_at=event.occurred_at,
        reference=event.reference,
        renews_by_itself=event.renews_by_itself,
        grace_until=event.grace_until,
        scheduled=view.scheduled if view is not None and event.scheduled_kept else None,
        period_credits=event.period_credits or granted,
    )


PROJECTION = Projection(
    collection="subscriptions",
    version=3,
    document=SubscriptionView,
    events=[SubscriptionConfirmed, SubscriptionRenewed, SubscriptionChanged, SubscriptionScheduled],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    listed=False,
)


async def get_subscription(documents: DocumentReader, shards: int, account_id: str) -> SubscriptionView:
    """The account's subscription; one that never subscribed is on the free plan."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return SubscriptionView(account_id=account_id) if doc is None else PROJECTION.decode(doc)
