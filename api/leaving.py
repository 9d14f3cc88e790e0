"""How a user that is about to be erased leaves: no organization stays to people without an admin, nothing renews.

Between leaving and erasing no other process can make it a member of another one (`domain.erasing`).
"""

from typing import Any

import structlog

from api.call import Call
from api.command_log.commands import Draft, data_of
from api.errors import ApiError
from api.ids import uuid7
from domain.account.plan_terms import FREE
from domain.account.subscription_change import ChangeSubscription
from domain.erasing import BeginErasure, KeepUser
from domain.member import LeaveForGood
from projections.members import MemberView, membership_id
from projections.memberships import list_memberships
from projections.subscriptions import get_subscription

PAGE = 100
_log = structlog.get_logger()


async def begin_leaving(call: Call[Any, Any]) -> str:
    """Leaves all organizations, and bars others. Answers the erasure's id; errors as `leave_organizations`.

    Twice: the first tells who is a last admin before anything has begun, the second leaves what came in between.
    """
    await leave_organizations(call)
    erasure_id = await _begin(call)
    try:
        await leave_organizations(call)
    except ApiError as error:
        if error.code == "last_admin":
            await _draft(call, f"user:{call.caller.user_id}").remember(KeepUser(erasure_id=erasure_id))
        raise
    return erasure_id


async def _begin(call: Call[Any, Any]) -> str:
    """Another request's erasure is gone on with: what it ends is ended for this one too."""
    user_id = call.caller.user_id
    command = BeginErasure(user_id=user_id, erasure_id=f"erasure_{uuid7().replace('-', '')}")
    outcome = await _draft(call, f"user:{user_id}").remember(command)
    return str(data_of(outcome)["erasure_id"])


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
    try:
        await _draft(call, f"org:{member.org_id}", member.org_id).remember(LeaveForGood(user_id=member.user_id))
    except ApiError as error:
        if error.code == "last_admin":
            raise ApiError("last_admin", org_id=member.org_id) from None
        raise


async def end_subscription(call: Call[Any, Any]) -> None:
    """Ends what would renew for nobody, for ever, here and at the billing provider."""
    services, user_id = call.services, call.caller.user_id
    try:
        await services.billing.end_subscriptions(user_id)
    except ApiError as error:  # nobody stays unerased because somebody else is away: the operator ends it there
        _log.error("subscription_not_ended", account_id=user_id, provider=services.billing.name, code=error.code)
    view = await get_subscription(services.documents, services.shards, user_id)
    if not view.renews_by_itself or view.plan_in_force == FREE:
        return
    try:
        await _draft(call, f"account:{user_id}").remember(ChangeSubscription(cancel=True, at_period_end=False))
    except ApiError as error:
        if error.code not in ("no_subscription", "billed_elsewhere"):  # it has changed meanwhile
            raise


def _draft(call: Call[Any, Any], stream: str, account: str | None = None) -> Draft:
    """Under an id of its own: the request's is that of the erasure, and a refusal here must not be for ever."""
    return call.draft(stream, account=account, command_id=uuid7())
