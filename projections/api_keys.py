"""API keys by id: what authentication compares with, and what listings show. There is no secret here."""

from typing import Literal

from msgspec import UNSET, Struct, structs

from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.account.api_key_use import ApiKeyUsed
from domain.account.api_keys import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated, KeyDigest
from domain.instant import Instant
from domain.recorded import Recorded
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page
from projections.projection import Projection

API_KEY_EVENTS = (ApiKeyCreated, ApiKeyUpdated, ApiKeyRotated, ApiKeyRevoked, ApiKeyUsed)


class ApiKeyView(Struct, frozen=True, kw_only=True, gc=False):
    """A key. `digest` is the peppered hash of its secret; `hint` is what a listing shows of it.

    `old` is what the secret before the last rotation is recognised by, and until when.
    """

    id: str
    account_id: str
    name: str
    scopes: tuple[str, ...]
    mode: Literal["live", "test"]
    digest: str
    hint: str
    created_by: str
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    limits: KeyLimits = NO_LIMITS
    project_id: str | None = None
    old: KeyDigest | None = None
    last_used_at: Instant | None = None


def _key(recorded: Recorded) -> str:
    event = recorded.event
    assert isinstance(event, API_KEY_EVENTS)
    return event.key_id


def _evolve(view: ApiKeyView | None, recorded: Recorded) -> ApiKeyView | None:
    event = recorded.event
    if isinstance(event, ApiKeyCreated):
        return ApiKeyView(
            id=event.key_id,
            account_id=recorded.entity_id,
            name=event.name,
            scopes=event.scopes,
            mode=event.mode,
            digest=event.digest,
            hint=event.hint,
            created_by=event.created_by,
            created_at=event.created_at,
            expires_at=event.expires_at,
            limits=event.limits,
            project_id=event.project_id,
        )
    if view is None:
        return None
    match event:
        case ApiKeyUpdated():
            expires_at = view.expires_at if event.expires_at is UNSET else event.expires_at
            return structs.replace(
                view, name=event.name, scopes=event.scopes, limits=event.limits, expires_at=expires_at
            )
        case ApiKeyRotated():
            newest, *older = event.digests
            return structs.replace(view, digest=newest.digest, hint=event.hint, old=older[0] if older else None)
        case ApiKeyUsed():
            return structs.replace(view, last_used_at=max(event.last_at, view.last_used_at or 0))
        case ApiKeyRevoked():
            return structs.replace(view, revoked_at=event.revoked_at)
        case _:
            return view


PROJECTION = Projection(
    collection="api_keys",
    version=2,
    document=ApiKeyView,
    events=API_KEY_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    sort=lambda view: instant_sort(view.created_at),
    begun_by=[ApiKeyCreated],
    done=lambda view: view.revoked_at is not None,
    found_by_key=True,
)


async def find_api_key(documents: DocumentReader, key_id: str) -> ApiKeyView | None:
    """A key by its id alone, for authentication."""
    found = await documents.find(PROJECTION.collection, key_id)
    return None if found is None else PROJECTION.decode(found[1])


async def list_api_keys(
    documents: DocumentReader, shards: int, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[ApiKeyView]:
    """The account's keys, revoked ones too, newest first."""
    return await read_page(documents, PROJECTION, shards, f"account:{account_id}", limit=limit, after=after)
