"""How a user that is to be erased goes: no organization stays to people without an admin, nothing renews for nobody.

Between leaving and erasing no other process can make it a member of another one (`domain.erasure`). Each step can be
repeated; who began them need not be who ends them (`api.unfinished_erasures`).
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from msgspec import Struct

from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError
from api.ids import uuid7
from domain.account.plan_terms import FREE
from domain.account.subscription_change import ChangeSubscription
from domain.erasure import BeginErasure, KeepUser
from domain.invitation import ForgetInvited, address_subject
from domain.member import LeaveForGood
from domain.message import Command
from eventstore.records import Outcome
from projections.erasures import get_erasure
from projections.invited import list_invited
from projections.members import MemberView, membership_id
from projections.memberships import list_memberships
from projections.subscriptions import get_subscription

if TYPE_CHECKING:
    from api.parts import Services

PAGE = 100
Send: TypeAlias = Callable[[str, Command], Awaitable[Outcome]]
"""Sends a command to a stream and answers its outcome, which was applied; raises why it was not."""

_log = structlog.get_logger()


class Leaver(Struct, frozen=True, kw_only=True):
    """Who goes, and in whose name the commands are sent."""

    services: "Services"
    user_id: str
    send: Send


def by_request(call: Call[Any, Any]) -> Leaver:
    """The caller goes, by its own request."""

    async def send(stream: str, command: Command) -> Outcome:
        # Under an id of its own: the request's is that of the erasure, and a refusal here must not be for ever.
        return await call.draft(stream, account=stream.partition(":")[2], command_id=uuid7()).remember(command)

    return Leaver(services=call.services, user_id=call.caller.user_id, send=send)


async def begin_leaving(leaver: Leaver) -> str:
    """Leaves all organizations, and bars others. Answers the erasure's id; errors as `leave_organizations`.

    Twice: the first tells who is a last admin before anything has begun, the second leaves what came in between.
    """
    await leave_organizations(leaver)
    erasure_id = await _begin(leaver)
    await go_on_leaving(leaver, erasure_id)
    services = leaver.services
    begun = await get_erasure(services.documents, services.shards, leaver.user_id)
    await forget_invited(leaver, "" if begun is None else begun.email_hash)
    return erasure_id


async def go_on_leaving(leaver: Leaver, erasure_id: str) -> None:
    """Leaves once more; the user is kept where that cannot be: 409 `last_admin`."""
    try:
        await leave_organizations(leaver)
    except ApiError as error:
        if error.code == "last_admin":
            await leaver.send(f"user:{leaver.user_id}", KeepUser(erasure_id=erasure_id))
        raise


async def _begin(leaver: Leaver) -> str:
    """Another request's erasure is gone on with: what it ends is ended for this one too."""
    user_id = leaver.user_id
    command = BeginErasure(user_id=user_id, erasure_id=f"erasure_{uuid7().replace('-', '')}")
    outcome = await leaver.send(f"user:{user_id}", command)
    return str(data_of(outcome)["erasure_id"])


async def leave_organizations(leaver: Leaver) -> None:
    """Ends all memberships of the user.

    409 `last_admin` with `org_id` where other members would be left without an admin: what was left before stays left,
    and a repeat goes on. An organization with nobody else in it is left empty.
    """
    services, user_id = leaver.services, leaver.user_id
    while True:
        page = await list_memberships(services.documents, user_id, limit=PAGE)
        for member in page.items:
            await _leave(leaver, member)
            services.identities.cache.stamped((membership_id(member.org_id, user_id),))
        if page.next_after is None:
            return


async def _leave(leaver: Leaver, member: MemberView) -> None:
    try:
        await leaver.send(f"org:{member.org_id}", LeaveForGood(user_id=member.user_id))
    except ApiError as error:
        if error.code == "last_admin":
            raise ApiError("last_admin", org_id=member.org_id) from None
        raise


async def forget_invited(leaver: Leaver, email_hash: str) -> None:
    """Makes the user's address unreadable where it was invited. Those who hold an invitation can still use it."""
    if not email_hash:
        return
    documents, after = leaver.services.documents, None
    while True:
        page = await list_invited(documents, email_hash, limit=PAGE, after=after)
        leaver.services.sealer.forget(*[address_subject(view.org_id, view.id) for view in page.items])
        for org_id in dict.fromkeys(view.org_id for view in page.items):
            await leaver.send(f"org:{org_id}", ForgetInvited(email_hash=email_hash))
        if page.next_after is None:
            return
        after = page.next_after  # one that stays listed, as logs from before expiry was an event have them, is passed


async def end_subscription(leaver: Leaver) -> bool:
    """Ends what would renew for nobody, for ever, here and at the billing provider; False where that must be repeated.

    Nobody stays unerased because somebody else is away.
    """
    services, user_id = leaver.services, leaver.user_id
    ended = True
    try:
        await services.billing.end_subscriptions(user_id)
    except ApiError as error:
        ended = False
        _log.warning("subscription_not_ended", account_id=user_id, provider=services.billing.name, code=error.code)
    view = await get_subscription(services.documents, services.shards, user_id)
    if not view.renews_by_itself or view.plan_in_force == FREE:
        return ended
    try:
        await leaver.send(f"account:{user_id}", ChangeSubscription(cancel=True, at_period_end=False))
    except ApiError as error:
        if error.code not in ("no_subscription", "billed_elsewhere"):  # it has changed meanwhile
            raise
    return ended
