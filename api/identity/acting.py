"""For which account a caller acts: its own, the organization that `X-Organization` names, or the one of its key.

A person chooses with each request; a key has its account for ever, since its limits are kept there. In an organization
everybody is cut to what the member's level allows now. docs/access.md has the rules.
"""

import re

from msgspec import structs

from api.account_plan import AccountPlan, read_account_plan
from api.errors import ApiError, declare
from api.identity.identity_cache import Identity
from api.plans import Plans
from api.scopes import AUTHORITY, DEFAULT, expand, role_of_key
from domain.instant import Instant
from domain.member import Level
from domain.user import Role
from projections.documents import DocumentReader
from projections.members import MemberView, get_member, membership_id
from projections.preferences import get_preferences
from projections.projects import get_project
from projections.standings import get_standing
from projections.users import UserView

_ORG_ID = re.compile(r"org_[0-9a-f]{32}", re.ASCII)

LEVEL_SCOPES: dict[Level, frozenset[str]] = {
    "read": expand(("read",)),
    "write": expand(DEFAULT),
    "admin": expand(("admin",)),
}
"""The most that a member of a level may do with its organization's account; its role may allow less."""

declare(
    "organization_not_found",
    "not_found",
    "There is no such organization, or the caller is no member of it.",
    "List yours with GET /orgs; X-Organization takes an id of that list.",
)
declare(
    "key_bound",
    "forbidden",
    "An API key acts for the account that it was made for, and for no other.",
    "Leave X-Organization out, or use a key that was made with it, or a login token.",
)
declare(
    "project_bound",
    "forbidden",
    "The credentials are bound to a project and see nothing beside it.",
    "Use credentials that are bound to no project.",
)


def is_org_id(text: str) -> bool:
    """True for what could be an organization's id."""
    return _ORG_ID.fullmatch(text) is not None


async def member_for(documents: DocumentReader, shards: int, identity: Identity, organization: str) -> MemberView:
    """The membership by which a person acts for an organization.

    403 `key_bound` for a key, 403 `project_bound` for a token of a project, 404 `organization_not_found` for strangers.
    """
    if identity.key_id is not None:
        raise ApiError("key_bound", param="X-Organization")
    if identity.project_id is not None:
        raise ApiError("project_bound", param="X-Organization")
    found = await get_member(documents, shards, organization, identity.user_id) if is_org_id(organization) else None
    if found is None:
        raise ApiError("organization_not_found", param="X-Organization")
    return found


def in_organization(identity: Identity, member: MemberView, subscription: AccountPlan, *, suspended: bool) -> Identity:
    """The identity, acting for the organization: no more than its own role and the member's level allow.

    `suspended` tells whether the organization's account is, or the member's own.
    """
    scopes = identity.scopes & LEVEL_SCOPES[member.level]
    principals = dict.fromkeys(
        (
            *identity.principals,
            membership_id(member.org_id, member.user_id),
            f"account:{member.org_id}",
            f"account:{member.user_id}",
            f"account:{subscription.account_id}",
        )
    )
    return structs.replace(
        identity,
        principals=tuple(principals),
        account_id=member.org_id,
        level=member.level,
        scopes=scopes,
        role=role_of_key(identity.role, scopes),
        subscription=subscription,
        suspended=suspended,
    )


async def narrowed_key(documents: DocumentReader, shards: int, identity: Identity) -> Identity | None:
    """A key's identity as its organization and its project allow it now.

    `None` where its creator is no member any more, or the project is archived or gone: the key does not work then.
    """
    org_id, project_id = identity.account_id, identity.project_id
    if is_org_id(org_id):
        member = await get_member(documents, shards, org_id, identity.user_id)
        if member is None:
            return None
        assert identity.subscription is not None
        identity = in_organization(identity, member, identity.subscription, suspended=identity.suspended)
    if project_id is not None:
        project = await get_project(documents, shards, project_id)
        if project is None or project.account_id != org_id or project.status == "archived":
            return None
        identity = structs.replace(identity, principals=(*identity.principals, project_id))
    return identity


class Acting:
    """Puts together what a person's identity is, on its own account and in an organization."""

    def __init__(self, documents: DocumentReader, shards: int, plans: Plans) -> None:
        self._documents = documents
        self._shards = shards
        self._plans = plans

    async def subscription(self, account_id: str) -> AccountPlan:
        """The plan in force, and the zone in which the account's days are counted."""
        found = await read_account_plan(self._documents, self._shards, self._plans, account_id)
        preferences = await get_preferences(self._documents, self._shards, account_id)
        return structs.replace(found, time_zone=preferences.time_zone)

    async def suspended(self, account_id: str) -> bool:
        """Whether the account is."""
        return await get_standing(self._documents, self._shards, account_id) is not None

    async def membership(self, org_id: str, user_id: str) -> MemberView | None:
        """The user's, if it is a member."""
        return await get_member(self._documents, self._shards, org_id, user_id)

    async def for_self(self, user: UserView, role: Role, expires_at: Instant) -> Identity:
        """A user by a token of its own, acting on its own account."""
        return Identity(
            principals=(user.id, f"account:{user.id}"),
            user_id=user.id,
            account_id=user.id,
            key_id=None,
            role=role,
            scopes=AUTHORITY[role],
            mode="live",
            expires_at=expires_at,
            subscription=await self.subscription(user.id),
            suspended=await self.suspended(user.id),
        )

    async def for_organization(self, identity: Identity, member: MemberView) -> Identity:
        """The same person, acting for an organization."""
        subscription = await self.subscription(member.org_id)
        suspended = identity.suspended or await self.suspended(member.org_id)
        return in_organization(identity, member, subscription, suspended=suspended)
