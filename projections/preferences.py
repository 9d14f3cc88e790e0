"""What an account's owner has set: the zone of its days, and below which balance it wants to know."""

from msgspec import Struct

from domain.account.preferences import LOW_BALANCE, TIME_ZONE, PreferencesChanged
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class PreferencesView(Struct, frozen=True, kw_only=True):
    """The preferences of one account. `time_zone` is a name of the IANA database."""

    account_id: str
    time_zone: str = TIME_ZONE
    low_balance: MicroCredits = LOW_BALANCE


def _evolve(view: PreferencesView | None, recorded: Recorded) -> PreferencesView | None:
    event = recorded.event
    if not isinstance(event, PreferencesChanged):
        return view
    return PreferencesView(account_id=recorded.entity_id, time_zone=event.time_zone, low_balance=event.low_balance)


PROJECTION = Projection(
    collection="preferences",
    version=1,
    document=PreferencesView,
    events=[PreferencesChanged],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    begun_by=[PreferencesChanged],
    listed=False,
)


async def get_preferences(documents: DocumentReader, shards: int, account_id: str) -> PreferencesView:
    """The account's preferences; one that never set any has the defaults."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return PreferencesView(account_id=account_id) if doc is None else PROJECTION.decode(doc)
