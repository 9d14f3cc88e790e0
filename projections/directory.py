"""All accounts there are, by whose they are: users by role, and organizations. What an admin's search walks."""

from collections.abc import Iterable
from heapq import merge
from itertools import islice
from typing import Literal, TypeAlias, get_args

from msgspec import Struct, structs

from domain.erasure import UserErased
from domain.instant import Instant
from domain.organization import OrganizationCreated
from domain.recorded import Recorded
from domain.user import IdentityLinked, Role, RoleGranted, UserRegistered
from projections.documents import DocumentReader, Row
from projections.lookup import read_many
from projections.paging import Cursor, Page, instant_sort
from projections.projection import Projection

Holder: TypeAlias = Role | Literal["organization"]
ROLES: tuple[Role, ...] = get_args(Role)
HOLDERS: tuple[Holder, ...] = (*ROLES, "organization")


class DirectoryEntry(Struct, frozen=True, kw_only=True):
    """An account: the user's with this role, or an organization's."""

    account_id: str
    holder: Holder
    created_at: Instant


def _evolve(entry: DirectoryEntry | None, recorded: Recorded) -> DirectoryEntry | None:
    match recorded.event:
        case UserRegistered(registered_at=at):
            return DirectoryEntry(account_id=recorded.entity_id, holder="user", created_at=at)
        case IdentityLinked(linked_at=at, role=role):
            return DirectoryEntry(account_id=recorded.entity_id, holder=role, created_at=at)
        case OrganizationCreated(created_at=at):
            return DirectoryEntry(account_id=recorded.entity_id, holder="organization", created_at=at)
        case RoleGranted(role=role) if entry is not None:
            return structs.replace(entry, holder=role)
        case UserErased():
            return None
        case _:
            return entry


PROJECTION = Projection(
    collection="directory",
    version=1,
    document=DirectoryEntry,
    events=[UserRegistered, IdentityLinked, RoleGranted, UserErased, OrganizationCreated],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda entry: entry.holder,
    sort=lambda entry: instant_sort(entry.created_at),
    begun_by=[UserRegistered, IdentityLinked, UserErased, OrganizationCreated],
    listed_everywhere=True,
)


async def list_accounts(
    documents: DocumentReader, holder: Holder | None, *, limit: int, after: Cursor | None = None
) -> Page[DirectoryEntry]:
    """Accounts of one kind of holder or of all, the newest first."""
    rows: list[list[Row]] = [
        await documents.page_everywhere(PROJECTION.collection, each, limit=limit + 1, after=after)
        for each in (HOLDERS if holder is None else (holder,))
    ]
    ordered = list(islice(merge(*rows, key=lambda row: (row.sort, row.key), reverse=True), limit + 1))
    shown = ordered[:limit]
    return Page(
        items=[PROJECTION.decode(row.doc) for row in shown],
        next_after=(shown[-1].sort, shown[-1].key) if len(ordered) > limit else None,
    )


async def find_accounts(
    documents: DocumentReader, shards: int, account_ids: Iterable[str]
) -> dict[str, DirectoryEntry]:
    """Those that there are of these accounts, by id."""
    return await read_many(documents, PROJECTION, shards, account_ids, _stream_of)


def _stream_of(account_id: str) -> str:
    return f"{'org' if account_id.startswith('org_') else 'user'}:{account_id}"
