"""An account as admins see it."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from api.identity.own_organization import open_name
from api.parts import Services
from api.profile import EMAIL_PLACE, NAME_PLACE, subject_of
from api.rfc3339 import format_instant
from api.sealing import Erased
from domain.user import Role
from projections.directory import DirectoryEntry
from projections.organizations import OrganizationView, get_organizations
from projections.standings import StandingView
from projections.users import UserView, get_users


class AccountShown(Struct, frozen=True, kw_only=True):
    """`email` and `role` are those of a user's account, null for an organization's; `display_name` is either's name."""

    id: str
    kind: Literal["user", "organization"]
    email: str | None
    display_name: str | None
    role: Role | None
    status: Literal["active", "suspended"]
    created_at: str
    suspended_at: str | None
    reason: str | None
    """Of the suspension; null also where its account was erased since."""


class AccountList(Struct, frozen=True, kw_only=True):
    """A page of accounts."""

    object: Literal["list"] = "list"
    data: list[AccountShown]
    has_more: bool
    next_cursor: str | None


async def shown_accounts(
    services: Services, found: Sequence[tuple[DirectoryEntry, StandingView | None]], reason_place: str
) -> list[AccountShown]:
    """The accounts in their order, with what is sealed opened, as far as it can be."""
    documents, shards = services.documents, services.shards
    ids: dict[bool, list[str]] = {True: [], False: []}
    for entry, _ in found:
        ids[entry.holder == "organization"].append(entry.account_id)
    holders: dict[str, UserView | OrganizationView] = {
        **await get_users(documents, shards, ids[False]),
        **await get_organizations(documents, shards, ids[True]),
    }
    await services.sealer.look_up(
        [
            *(subject_of(account_id) for account_id in holders),
            *(f"account:{entry.account_id}" for entry, standing in found if standing is not None),
        ]
    )
    return await asyncio.gather(
        *(_shown(services, entry, standing, reason_place, holders.get(entry.account_id)) for entry, standing in found)
    )


async def _shown(
    services: Services,
    entry: DirectoryEntry,
    standing: StandingView | None,
    reason_place: str,
    holder: UserView | OrganizationView | None,
) -> AccountShown:
    account_id = entry.account_id
    subject = f"user:{account_id}"
    user = holder if isinstance(holder, UserView) else None
    name = None if user is None else await _opened(services, subject, NAME_PLACE, user.display_name_sealed)
    if isinstance(holder, OrganizationView):
        name = await open_name(services, holder)
    return AccountShown(
        id=account_id,
        kind="organization" if entry.holder == "organization" else "user",
        email=await _opened(services, subject, EMAIL_PLACE, None if user is None else user.email_sealed),
        display_name=name,
        role=None if entry.holder == "organization" else entry.holder,
        status="active" if standing is None else "suspended",
        created_at=format_instant(entry.created_at),
        suspended_at=None if standing is None else format_instant(standing.suspended_at),
        reason=await _opened(
            services, f"account:{account_id}", reason_place, None if standing is None else standing.reason_sealed
        ),
    )


async def _opened(services: Services, subject: str, place: str, sealed: str | None) -> str | None:
    if sealed is None:
        return None
    try:
        return (await services.sealer.open(subject, place, sealed)).decode()
    except Erased:
        return None
