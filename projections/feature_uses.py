"""How much of each metered feature an account has used, in the last day and month in which it was tracked."""

from collections.abc import Mapping

from msgspec import Struct

from domain.account.quota_windows import Counted
from domain.account.quotas import FeatureTracked
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class FeatureUse(Struct, frozen=True, kw_only=True, gc=False):
    """Of one feature; a window that is over stands for nothing used."""

    day: Counted
    month: Counted


class FeatureUsesView(Struct, frozen=True, kw_only=True):
    """By feature; as many as were used in a month that was not over when the last new one came."""

    account_id: str
    features: Mapping[str, FeatureUse] = {}  # msgspec copies the default


def _evolve(view: FeatureUsesView | None, recorded: Recorded) -> FeatureUsesView | None:
    event = recorded.event
    if not isinstance(event, FeatureTracked):
        return view
    known = {} if view is None else dict(view.features)
    if event.feature not in known:
        known = {name: use for name, use in known.items() if _lasts(use, event.tracked_at)}
    known[event.feature] = FeatureUse(day=event.day, month=event.month)
    return FeatureUsesView(account_id=recorded.entity_id, features=known)


def _lasts(use: FeatureUse, at: Instant) -> bool:
    return use.month.at(at) is not None


PROJECTION = Projection(
    collection="feature_uses",
    version=1,
    document=FeatureUsesView,
    events=[FeatureTracked],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    listed=False,
)


async def get_feature_uses(documents: DocumentReader, shards: int, account_id: str) -> FeatureUsesView:
    """The account's uses; one that never tracked any has none."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return FeatureUsesView(account_id=account_id) if doc is None else PROJECTION.decode(doc)
