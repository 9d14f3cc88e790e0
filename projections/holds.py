"""Holds of an account, open and closed, and how each of them ended."""

from typing import Any, Literal

from msgspec import Struct, structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced, HoldProgressed
from domain.account.usage import Usage
from domain.instant import Instant
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page
from projections.projection import Projection

HOLD_EVENTS = (HoldPlaced, HoldProgressed, HoldClosed, HoldCorrected)


class HoldView(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A hold. `cost` is what it came to in the end, corrections included."""

    id: str
    account_id: str
    model: str
    amount: MicroCredits
    placed_at: Instant
    expires_at: Instant
    price_version: str
    status: Literal["open", "settled", "released", "expired"] = "open"
    corrected: bool = False
    key_id: str | None = None
    cost: MicroCredits = 0
    usage: Usage | None = None
    """What was used; of an open hold, what it last reported."""
    reason: str | None = None
    closed_at: Instant | None = None
    placed_version: int = 0
    """Where in its account's stream the hold was placed; by these three its events are found again."""
    closed_version: int = 0
    corrected_version: int = 0


def _key(recorded: Recorded) -> str:
    event: Any = recorded.event
    hold_id: str = event.hold_id  # every one of HOLD_EVENTS has it
    return hold_id


def _evolve(view: HoldView | None, recorded: Recorded) -> HoldView | None:
    event = recorded.event
    if isinstance(event, HoldPlaced):
        return HoldView(
            id=event.hold_id,
            account_id=recorded.entity_id,
            model=event.model,
            amount=event.amount,
            placed_at=event.placed_at,
            expires_at=event.expires_at,
            price_version=event.price.version,
            key_id=event.key_id,
            placed_version=recorded.version,
        )
    if view is None:
        return None
    match event:
        case HoldProgressed():
            return structs.replace(view, usage=event.usage)
        case HoldClosed():
            return structs.replace(
                view,
                status=event.how,
                cost=event.cost,
                usage=event.usage,
                reason=event.reason,
                closed_at=event.closed_at,
                closed_version=recorded.version,
            )
        case HoldCorrected():
            return structs.replace(
                view,
                cost=view.cost + event.difference,
                usage=event.usage,
                corrected=True,
                corrected_version=recorded.version,
            )
        case _:
            return view


PROJECTION = Projection(
    collection="holds",
    version=2,
    document=HoldView,
    events=HOLD_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    sort=lambda view: instant_sort(view.placed_at),
    begun_by=[HoldPlaced],
    done=lambda view: view.status != "open",
)


async def get_hold(documents: DocumentReader, shards: int, account_id: str, hold_id: str) -> HoldView | None:
    """One hold of the account."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), hold_id)
    return None if doc is None else PROJECTION.decode(doc)


async def list_holds(
    documents: DocumentReader, shards: int, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[HoldView]:
    """The account's holds, newest first."""
    return await read_page(documents, PROJECTION, shards, f"account:{account_id}", limit=limit, after=after)
