"""Accounts that are suspended now, and why: a document appears with the suspension and goes with its end."""

from collections.abc import Iterable

from msgspec import Struct

from domain.account.standing import AccountResumed, AccountSuspended
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.lookup import read_many
from projections.paging import Cursor, Page, instant_sort, read_page_everywhere
from projections.projection import Projection

SUSPENDED = "suspended"
"""The owner of every document, so that all of them are one list."""

_EVENTS = (AccountSuspended, AccountResumed)


class StandingView(Struct, frozen=True, kw_only=True):
    """A suspended account. The reason is sealed under the account's data key."""

    account_id: str
    reason_sealed: str
    suspended_at: Instant


def _evolve(_view: StandingView | None, recorded: Recorded) -> StandingView | None:
    event = recorded.event
    if not isinstance(event, AccountSuspended):
        return None
    return StandingView(
        account_id=recorded.entity_id, reason_sealed=event.reason_sealed, suspended_at=event.suspended_at
    )


PROJECTION = Projection(
    collection="standings",
    version=1,
    document=StandingView,
    events=_EVENTS,
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda _view: SUSPENDED,
    sort=lambda view: instant_sort(view.suspended_at),
    begun_by=_EVENTS,
    listed_everywhere=True,
)


async def get_standing(documents: DocumentReader, shards: int, account_id: str) -> StandingView | None:
    """The account's suspension, or `None` while it is in good standing."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), account_id)
    return None if doc is None else PROJECTION.decode(doc)


async def list_suspended(documents: DocumentReader, *, limit: int, after: Cursor | None = None) -> Page[StandingView]:
    """Suspended accounts of all shards, who was suspended last first."""
    return await read_page_everywhere(documents, PROJECTION, SUSPENDED, limit=limit, after=after)


async def get_standings(documents: DocumentReader, shards: int, account_ids: Iterable[str]) -> dict[str, StandingView]:
    """Those of suspended accounts among these, by account."""
    return await read_many(documents, PROJECTION, shards, account_ids, lambda account_id: f"account:{account_id}")
