"""What happened to an API key, one document each: who made, changed or revoked it, and when."""

from typing import Literal

from msgspec import Struct

from domain.account.api_keys import ApiKeyCreated, ApiKeyRevoked, ApiKeyUpdated
from domain.envelope import Actor
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, page_of
from projections.projection import Projection

_EVENTS = (ApiKeyCreated, ApiKeyUpdated, ApiKeyRevoked)


class ApiKeyEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. `name` and `scopes` are those of the key after it; a revocation leaves them as they were."""

    id: str
    key_id: str
    kind: Literal["created", "updated", "revoked"]
    at: Instant
    version: int
    actor: Actor
    command_id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None


def _key_id(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, _EVENTS)
    return event.key_id


def _evolve(_document: ApiKeyEvent | None, recorded: Recorded) -> ApiKeyEvent:
    event = recorded.event
    kind: Literal["created", "updated", "revoked"] = "revoked"
    name, scopes = None, None
    if isinstance(event, ApiKeyCreated | ApiKeyUpdated):
        kind = "created" if isinstance(event, ApiKeyCreated) else "updated"
        name, scopes = event.name, event.scopes
    return ApiKeyEvent(
        id=f"{_key_id(recorded)}_{recorded.version}",
        key_id=_key_id(recorded),
        kind=kind,
        at=recorded.at,
        version=recorded.version,
        actor=recorded.metadata.actor,
        command_id=recorded.metadata.command_id,
        name=name,
        scopes=scopes,
    )


PROJECTION = Projection(
    collection="api_key_events",
    version=1,
    document=ApiKeyEvent,
    events=_EVENTS,
    key=lambda recorded: f"{_key_id(recorded)}_{recorded.version}",
    evolve=_evolve,
    owner=lambda event: event.key_id,
    sort=lambda event: f"{event.version:012d}",
    begun_by=_EVENTS,
)


async def list_api_key_events(
    documents: DocumentReader, shards: int, account_id: str, key_id: str, *, limit: int, after: Cursor | None = None
) -> Page[ApiKeyEvent]:
    """What happened to one of the account's keys, newest first."""
    shard = shard_of(f"account:{account_id}", shards)
    return await page_of(documents, PROJECTION, shard, key_id, limit=limit, after=after)
