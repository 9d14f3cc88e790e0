"""Organizations: made, listed, shown, renamed."""

from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.identity.own_organization import OwnOrganization, open_name, own_organization
from api.organization_shown import (
    NAME_PLACE,
    NewOrganization,
    OrganizationChange,
    OrganizationList,
    OrganizationShown,
    organization_shown,
)
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.plain_text import check_name
from api.profile import subject_of
from api.rfc3339 import format_instant
from api.route import Route, needs
from domain.organization import CreateOrganization, RenameOrganization
from projections.members import MemberView, get_member
from projections.memberships import list_memberships
from projections.organizations import count_made_by, get_organization, get_organizations
from projections.paging import Page

MEMBERSHIPS_MAX = 100
"""Organizations of which a user can be a member and still make another."""
EXAMPLE_ID = {"id": "org_00000000000000000000000000000000"}

declare(
    "too_many_organizations",
    "conflict",
    "The user is a member of too many organizations to make another.",
    "Leave some; `limit` is how many there can be.",
)
declare(
    "organizations_used_up",
    "payment_required",
    "The plan allows no more organizations to be made.",
    "`limit` is how many a person on the plan can make, also counting those that were left; `upgrade` names plans"
    " with more.",
)
declare(
    "organization_place_taken",
    "conflict",
    "Another organization of the same person was made in the same moment.",
    "Send it again, under another Idempotency-Key.",
)
declare("organization_exists", "conflict", "The organization exists already.", "Nothing to do: it was made before.")
declare(
    "organization_person_required",
    "forbidden",
    "Only a person makes an organization, acting for its own account.",
    "Use a login token or a key of your own account, without X-Organization.",
)


async def create(call: Call[NewOrganization, None]) -> OrganizationShown:
    """Makes an organization with the caller as its first admin; it has an account of its own."""
    services, caller, name = call.services, call.caller, call.body.name
    check_name(name)
    if caller.account_id != caller.user_id:
        raise ApiError("organization_person_required")
    draft = call.draft()
    org_id = draft.new_id("org")
    place = None
    if await get_organization(services.documents, services.shards, org_id) is None:  # else it is a repeat
        await _require_room(services, caller.user_id)
        place = await _next_place(call)
    command = CreateOrganization(
        org_id=org_id,
        name_sealed=await _sealed_name(services, org_id, name),
        created_by=caller.user_id,
        place=place,
    )
    outcome = await draft.submit(command, stream=f"org:{org_id}")
    return OrganizationShown(
        id=org_id, account_id=org_id, name=name, level="admin", created_at=format_instant(outcome.at)
    )


async def _require_room(services: Services, user_id: str) -> None:
    """409 `too_many_organizations`; two that are made at once may both pass, which harms nobody."""
    page = await list_memberships(services.documents, user_id, limit=MEMBERSHIPS_MAX)
    if len(page.items) >= MEMBERSHIPS_MAX:
        raise ApiError("too_many_organizations", limit=MEMBERSHIPS_MAX)


async def _next_place(call: Call[NewOrganization, None]) -> int | None:
    """Which of the caller's organizations comes next; 402 `organizations_used_up` where the plan has no more.

    Those that the caller has left count too: they have the limits of their maker's plan all the same.
    """
    services, caller = call.services, call.caller
    most = None if caller.subscription is None else caller.subscription.plan.organizations
    if most is None:
        return None
    made = await count_made_by(services.documents, caller.user_id, most=most) if most else 0
    if made >= most:
        raise ApiError("organizations_used_up", limit=most)
    return made + 1


async def list_all(call: Call[None, PageQuery]) -> OrganizationList:
    """The organizations of which the caller is a member; a key of an organization sees that one."""
    services = call.services
    page = await _memberships(call)
    org_ids = [member.org_id for member in page.items]
    views = await get_organizations(services.documents, services.shards, org_ids)
    assert views.keys() == set(org_ids), "an organization's document is written along with its first member's"
    await services.sealer.look_up(subject_of(org_id) for org_id in views)
    names = {org_id: await open_name(services, view) for org_id, view in views.items()}

    def shown(member: MemberView) -> OrganizationShown:
        return organization_shown(views[member.org_id], names[member.org_id], member.level)

    return OrganizationList(**list_fields(page, shown))


async def _memberships(call: Call[None, PageQuery]) -> Page[MemberView]:
    services, caller, query = call.services, call.caller, call.query
    if caller.kind == "key" and caller.account_id != caller.user_id:
        own = await get_member(services.documents, services.shards, caller.account_id, caller.user_id)
        return Page(items=[] if own is None else [own], next_after=None)
    return await list_memberships(services.documents, caller.user_id, limit=query.limit, after=query.after())


async def show(call: Call[None, None]) -> OrganizationShown:
    """One organization of the caller's."""
    return await _shown(call.services, await own_organization(call))


async def change(call: Call[OrganizationChange, None]) -> OrganizationShown:
    """Changes the name; for admins of the organization."""
    services, name = call.services, call.body.name
    own = await own_organization(call)
    if name is None and call.idempotency_key is None:
        return await _shown(services, own)
    if name is not None:
        check_name(name)
    sealed = own.view.name_sealed if name is None else await _sealed_name(services, own.id, name)
    draft = call.draft(f"org:{own.id}", account=own.id)
    outcome = await draft.submit(RenameOrganization(by=call.caller.user_id, name_sealed=sealed))
    # As it was after this change and not a later one: a repeat under its Idempotency-Key answers the same.
    then = (await services.sealer.open(subject_of(own.id), NAME_PLACE, data_of(outcome)["name_sealed"])).decode()
    return organization_shown(own.view, then, own.level)


async def _shown(services: Services, own: OwnOrganization) -> OrganizationShown:
    return organization_shown(own.view, await open_name(services, own.view), own.level)


async def _sealed_name(services: Services, org_id: str, name: str) -> str:
    return await services.sealer.seal(subject_of(org_id), NAME_PLACE, name.encode())


ROUTES = (
    Route(
        method="POST",
        path="/orgs",
        handler=create,
        summary="Create an organization",
        description="The caller becomes its first admin. The plan of the caller's account must have organizations.",
        tag="organizations",
        access=needs("orgs:write"),
        feature="organizations",
        body=NewOrganization,
        answers={201: OrganizationShown},
        errors=(
            "invalid_name",
            "organization_person_required",
            "too_many_organizations",
            "organizations_used_up",
            "organization_place_taken",
            "erasure_begun",
        ),
        write=True,
        example={"name": "Analytical Engines"},
    ),
    Route(
        method="GET",
        path="/orgs",
        handler=list_all,
        summary="List the caller's organizations",
        tag="organizations",
        access=needs("orgs:read"),
        query=PageQuery,
        answers={200: OrganizationList},
        errors=("invalid_cursor",),
    ),
    Route(
        method="GET",
        path="/orgs/{id}",
        handler=show,
        summary="Show an organization",
        tag="organizations",
        access=needs("orgs:read", level="read"),
        answers={200: OrganizationShown},
        errors=("organization_not_found",),
        path_examples=EXAMPLE_ID,
    ),
    Route(
        method="PATCH",
        path="/orgs/{id}",
        handler=change,
        summary="Rename an organization",
        tag="organizations",
        access=needs("orgs:write", level="admin"),
        body=OrganizationChange,
        answers={200: OrganizationShown},
        errors=("invalid_name", "organization_not_found"),
        write=True,
        path_examples=EXAMPLE_ID,
        example={"name": "Difference Engines"},
    ),
)
