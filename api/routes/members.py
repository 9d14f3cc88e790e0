"""Members of an organization: listed, given another level, removed; and how one leaves."""

from typing import Any

from msgspec.structs import replace

from api.call import Call
from api.command_log.commands import Draft, data_of
from api.errors import ApiError, declare
from api.identity.own_organization import own_organization
from api.organization_shown import LevelChange, MemberList, MemberRemoved, MemberShown, member_shown
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.profile import NAME_PLACE, open_text
from api.route import Route, needs
from api.sealing import Erased
from domain.member import ChangeMemberLevel, RemoveMember
from eventstore.records import Outcome
from projections.members import get_member, list_members, membership_id
from projections.users import UserView, get_user, get_users

_EXAMPLE_IDS = {"id": "org_00000000000000000000000000000000", "user_id": "user_00000000000000000000000000000000"}

declare(
    "member_not_found",
    "not_found",
    "The organization has no such member.",
    "List the members with GET /orgs/{id}/members.",
)
declare(
    "last_admin",
    "conflict",
    "An organization keeps at least one admin.",
    "Make somebody else an admin first.",
)


async def list_all(call: Call[None, PageQuery]) -> MemberList:
    """The organization's members."""
    services, query = call.services, call.query
    own = await own_organization(call)
    page = await list_members(services.documents, services.shards, own.id, limit=query.limit, after=query.after())
    users = await get_users(services.documents, services.shards, [member.user_id for member in page.items])
    await services.sealer.look_up(f"user:{user_id}" for user_id, user in users.items() if user.display_name_sealed)
    names = {user_id: await _display_name(services, user) for user_id, user in users.items()}
    return MemberList(**list_fields(page, lambda member: member_shown(member, names.get(member.user_id))))


async def change(call: Call[LevelChange, None]) -> MemberShown:
    """Changes a member's level; takes effect on every process within a second."""
    services, org_id, user_id = call.services, call.path["id"], call.path["user_id"]
    draft = call.draft(f"org:{org_id}", account=org_id)
    outcome = await _applied_before(call, draft)
    if outcome is None:
        await own_organization(call)
        command = ChangeMemberLevel(by=call.caller.user_id, user_id=user_id, level=call.body.level)
        outcome = await draft.submit(command)
        # Other processes see the stamp within a second; this one forgets the member now.
        services.identities.cache.stamped((membership_id(org_id, user_id),))
    member = await get_member(services.documents, services.shards, org_id, user_id)
    if member is None:
        raise ApiError("member_not_found")
    name = await _display_name(services, await get_user(services.documents, services.shards, user_id))
    return member_shown(replace(member, level=data_of(outcome)["level"]), name)


async def remove(call: Call[None, None]) -> MemberRemoved:
    """Ends a membership, and with it all that the member's keys of the organization may do; one's own by anybody."""
    services, caller, org_id, user_id = call.services, call.caller, call.path["id"], call.path["user_id"]
    draft = call.draft(f"org:{org_id}", account=org_id)
    if await _applied_before(call, draft) is not None:
        return MemberRemoved(user_id=user_id)
    own = await own_organization(call)
    if user_id != caller.user_id and own.level != "admin":
        raise ApiError("missing_level", required_level="admin")
    if user_id == caller.user_id and caller.kind == "key":
        raise ApiError("login_required")
    await draft.submit(RemoveMember(by=caller.user_id, user_id=user_id))
    services.identities.cache.stamped((membership_id(org_id, user_id),))
    return MemberRemoved(user_id=user_id)


async def _applied_before(call: Call[Any, None], draft: Draft) -> Outcome | None:
    """The outcome of the same request, sent before: it may have ended what lets its caller see the organization."""
    known = await draft.known() if call.idempotency_key is not None else None
    if known is None or known.status != "applied":
        return None
    if known.fingerprint != call.fingerprint:
        raise ApiError("idempotency_key_reused")
    return known


async def _display_name(services: Services, user: UserView | None) -> str | None:
    if user is None or user.display_name_sealed is None:
        return None
    try:
        return await open_text(services.sealer, user.id, NAME_PLACE, user.display_name_sealed)
    except Erased:
        return None


ROUTES = (
    Route(
        method="GET",
        path="/orgs/{id}/members",
        handler=list_all,
        summary="List an organization's members",
        tag="organizations",
        access=needs("orgs:read", level="read"),
        query=PageQuery,
        answers={200: MemberList},
        errors=("organization_not_found", "invalid_cursor"),
        path_examples=_EXAMPLE_IDS,
    ),
    Route(
        method="PATCH",
        path="/orgs/{id}/members/{user_id}",
        handler=change,
        summary="Change a member's level",
        tag="organizations",
        access=needs("orgs:write", level="admin", fresh=True),
        body=LevelChange,
        answers={200: MemberShown},
        errors=("organization_not_found", "member_not_found", "last_admin"),
        write=True,
        path_examples=_EXAMPLE_IDS,
        example={"level": "write"},
    ),
    Route(
        method="DELETE",
        path="/orgs/{id}/members/{user_id}",
        handler=remove,
        summary="Remove a member, or leave",
        description=(
            "Admins remove others; everybody may leave, with a login token. The keys that the member made for the "
            "organization stop working."
        ),
        tag="organizations",
        access=needs("orgs:write", level="read", fresh=True),
        answers={200: MemberRemoved},
        errors=("organization_not_found", "member_not_found", "missing_level", "login_required", "last_admin"),
        write=True,
        path_examples=_EXAMPLE_IDS,
    ),
)
