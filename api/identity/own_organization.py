"""The organization that a path names, and what its caller is in it."""

from typing import Any

from msgspec import Struct, structs

from api.call import Call
from api.errors import ApiError
from api.identity.acting import is_org_id
from api.organization_shown import NAME_PLACE
from api.parts import Services
from api.profile import subject_of
from domain.member import Level, at_least
from projections.members import MemberView, get_member
from projections.organizations import OrganizationView, get_organization
from projections.standings import get_standing


class OwnOrganization(Struct, frozen=True, kw_only=True):
    """An organization and the caller's level in it."""

    view: OrganizationView
    level: Level

    @property
    def id(self) -> str:
        """The organization's id."""
        return self.view.id


async def own_organization(call: Call[Any, Any]) -> OwnOrganization:
    """The path's organization, if the caller is a member of the level that the route needs.

    404 `organization_not_found` for any other, 403 `missing_level`, and 403 `account_suspended` where an admin would
    administer an organization whose account is. A key of the organization has its maker's level;
    any other key sees the organizations of its maker, and changes none of them.
    """
    services, org_id = call.services, call.path["id"]
    member = await _membership(call, org_id)
    view = None if member is None else await get_organization(services.documents, services.shards, org_id)
    if member is None or view is None:
        raise ApiError("organization_not_found")
    needed = call.route.access.level
    if needed is not None and not at_least(member.level, needed):
        message = f"This needs the level {needed} in the organization."
        raise ApiError("missing_level", message, required_level=needed)
    if needed == "admin" and await get_standing(services.documents, services.shards, org_id) is not None:
        raise ApiError("account_suspended")
    return OwnOrganization(view=view, level=member.level)


async def _membership(call: Call[Any, Any], org_id: str) -> MemberView | None:
    caller, services = call.caller, call.services
    bound = caller.kind == "key" and is_org_id(caller.account_id)
    if not is_org_id(org_id) or (bound and caller.account_id != org_id):
        return None
    member = await get_member(services.documents, services.shards, org_id, caller.user_id)
    if member is None or caller.kind != "key" or bound:
        return member
    return structs.replace(member, level="read")


async def open_name(services: Services, view: OrganizationView) -> str:
    """The organization's name."""
    return (await services.sealer.open(subject_of(view.id), NAME_PLACE, view.name_sealed)).decode()
