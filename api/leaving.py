"""How a user that is about to be erased leaves its organizations: none of them is left to people without an admin."""

from typing import Any

from api.call import Call
from api.errors import ApiError
from api.ids import uuid7
from domain.member import LeaveForGood
from projections.members import MemberView, membership_id
from projections.memberships import list_memberships

PAGE = 100


async def leave_organizations(call: Call[Any, Any]) -> None:
    """Ends all memberships of the caller.

    409 `last_admin` with `org_id` where other members would be left without an admin: what was left before stays left,
    and a repeat goes on. An organization with nobody else in it is left empty.
    """
    services, user_id = call.services, call.caller.user_id
    while True:
        page = await list_memberships(services.documents, user_id, limit=PAGE)
        for member in page.items:
            await _leave(call, member)
            services.identities.cache.stamped((membership_id(member.org_id, user_id),))
        if page.next_after is None:
            return


async def _leave(call: Call[Any, Any], member: MemberView) -> None:
    """Under an id of its own: the request's is that of the erasure, and a refusal here must not be for ever."""
    draft = call.draft(f"org:{member.org_id}", account=member.org_id, command_id=uuid7())
    try:
        await draft.remember(LeaveForGood(user_id=member.user_id))
    except ApiError as error:
        if error.code == "last_admin":
            raise ApiError("last_admin", org_id=member.org_id) from None
        raise
