"""What happened to an API key, one document each: made, changed, rotated, revoked, and used, by the minute."""

from typing import Literal, TypeAlias

from msgspec import Struct, structs

from domain.account.api_key_limits import KeyLimits
from domain.account.api_key_use import ApiKeyUsed
from domain.account.api_keys import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated
from domain.envelope import Actor
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, page_of
from projections.projection import Projection

_CHANGES = (ApiKeyCreated, ApiKeyUpdated, ApiKeyRotated, ApiKeyRevoked)
_EVENTS = (*_CHANGES, ApiKeyUsed)
Kind: TypeAlias = Literal["created", "updated", "rotated", "revoked", "used"]
_KINDS: dict[type, Kind] = {
    ApiKeyCreated: "created",
    ApiKeyUpdated: "updated",
    ApiKeyRotated: "rotated",
    ApiKeyRevoked: "revoked",
    ApiKeyUsed: "used",
}


class ApiKeyEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event. `name`, `scopes` and `limits` are those of the key after it, where it could change them.

    Of kind `used`: a minute's requests, `count` admitted and `refused` for a limit; `at` is when the last one came.
    `old_until` is the end of the secret that a rotation has replaced.
    """

    id: str
    key_id: str
    kind: Kind
    at: Instant
    version: int
    actor: Actor
    command_id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None
    limits: KeyLimits | None = None
    old_until: Instant | None = None
    count: int = 0
    refused: int = 0


def _key_id(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, _EVENTS)
    return event.key_id


def _id(recorded: Recorded) -> str:
    if isinstance(recorded.event, ApiKeyUsed):
        return f"{recorded.event.key_id}_m{recorded.event.minute}"
    return f"{_key_id(recorded)}_{recorded.version}"


def _evolve(document: ApiKeyEvent | None, recorded: Recorded) -> ApiKeyEvent:
    event = recorded.event
    made = ApiKeyEvent(
        id=_id(recorded),
        key_id=_key_id(recorded),
        kind=_KINDS[type(event)],
        at=recorded.at,
        version=recorded.version,
        actor=recorded.metadata.actor,
        command_id=recorded.metadata.command_id,
    )
    match event:
        case ApiKeyCreated() | ApiKeyUpdated():
            return structs.replace(made, name=event.name, scopes=event.scopes, limits=event.limits)
        case ApiKeyRotated():
            return structs.replace(made, old_until=event.digests[1].until if len(event.digests) > 1 else None)
        case ApiKeyUsed():
            return _used(document, made, event)
        case _:
            return made


def _used(known: ApiKeyEvent | None, made: ApiKeyEvent, event: ApiKeyUsed) -> ApiKeyEvent:
    """Of two reports of one minute the larger counts; it stays where the first one stands in the list."""
    made = structs.replace(made, at=event.last_at, count=event.count, refused=event.refused)
    if known is None:
        return made
    latest = made if made.at >= known.at else known
    return structs.replace(
        known,
        at=latest.at,
        actor=latest.actor if latest.actor.origin else known.actor,
        count=max(known.count, event.count),
        refused=max(known.refused, event.refused),
    )


PROJECTION = Projection(
    collection="api_key_events",
    version=2,
    document=ApiKeyEvent,
    events=_EVENTS,
    key=_id,
    evolve=_evolve,
    owner=lambda event: event.key_id,
    sort=lambda event: f"{event.version:012d}",
    begun_by=_CHANGES,
)


async def list_api_key_events(
    documents: DocumentReader, shards: int, account_id: str, key_id: str, *, limit: int, after: Cursor | None = None
) -> Page[ApiKeyEvent]:
    """What happened to one of the account's keys, newest first."""
    shard = shard_of(f"account:{account_id}", shards)
    return await page_of(documents, PROJECTION, shard, key_id, limit=limit, after=after)
