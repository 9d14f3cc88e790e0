"""Invitations into an organization: sent to an email address, sent again, revoked, accepted."""

from typing import Any

from api.account_plan import seats_of
from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.identity.own_organization import OwnOrganization, own_organization
from api.mail.invitation_delivery import admit_mail, open_email, send_invitation
from api.organization_shown import (
    EMAIL_PLACE,
    InvitationList,
    InvitationShown,
    NewInvitation,
    invitation_shown,
)
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.profile import check_email
from api.route import Route, needs
from api.sealing import Erased
from domain.instant import SECOND
from domain.invitation import InviteMember, RevokeInvitation, address_subject
from projections.emails import find_user_id
from projections.invitations import InvitationView, get_invitation, list_invitations
from projections.members import get_member

_EXAMPLE_ID = {"id": "org_00000000000000000000000000000000"}
_EXAMPLE_IDS = _EXAMPLE_ID | {"invitation_id": "invitation_00000000000000000000000000000000"}

declare(
    "invitation_not_found",
    "not_found",
    "There is no such invitation.",
    "List them with GET /orgs/{id}/invitations; of an invitation that you received, ask for a new one.",
)
declare("invitation_expired", "conflict", "The invitation has expired.", "Ask an admin for another.")
declare(
    "invitation_closed",
    "conflict",
    "The invitation was accepted or revoked before, or nobody is left in the organization.",
    "Ask an admin of the organization for another.",
)
declare(
    "invited_erased",
    "conflict",
    "Whoever has the invited address was erased, so nobody can read it any more.",
    "Revoke the invitation, and invite the address anew if you know it.",
)
declare(
    "already_invited",
    "conflict",
    "The address has an open invitation.",
    "Send that one again, or revoke it first; `invitation_id` names it.",
)
declare("already_member", "conflict", "The user is a member already.", "An admin can change the member's level.")
declare(
    "seats_used_up",
    "conflict",
    "All seats of the organization's plan are taken.",
    "Remove a member, or take more seats; `limit` is how many there are.",
)
declare("too_many_members", "conflict", "The organization has too many members.", "Make another organization.")
declare(
    "too_many_invitations",
    "conflict",
    "The organization has too many open invitations.",
    "Revoke some, or wait until they are accepted; `limit` is how many there can be.",
)


async def invite(call: Call[NewInvitation, None]) -> InvitationShown:
    """Invites an address. The token goes there by mail and is in no answer."""
    services, body = call.services, call.body
    own = await own_organization(call)
    check_email(body.email)
    services.mailer.check()
    email_hash = services.lookup.email(body.email)
    draft = call.draft(f"org:{own.id}", account=own.id)
    known = await draft.known()
    if known is None:
        await _refuse_member(services, own.id, email_hash)
        await admit_mail(call, email_hash)
    invitation_id = draft.new_id("invitation")
    outcome = await draft.submit(
        InviteMember(
            by=call.caller.user_id,
            invitation_id=invitation_id,
            email_hash=email_hash,
            email_sealed=await _sealed(services, own.id, invitation_id, body.email) if known is None else "",
            own_key=True,
            level=body.level,
            lasts=body.expires_in_s * SECOND,
            members_max=await seats_of(services, own.id),
        )
    )
    view = InvitationView(
        id=invitation_id,
        org_id=own.id,
        email_sealed=None,
        level=body.level,
        invited_by=call.caller.user_id,
        invited_at=outcome.at,
        expires_at=data_of(outcome)["expires_at"],
    )
    now = await get_invitation(services.documents, services.shards, own.id, invitation_id)
    if now is not None and now.status_at(services.clock()) == "open":  # a repeat may come after its end
        await send_invitation(call, own, view, body.email)
    return invitation_shown(view, body.email, outcome.at)


async def send_again(call: Call[None, None]) -> InvitationShown:
    """Sends the mail of an open invitation again, with the same token."""
    services = call.services
    own = await own_organization(call)
    services.mailer.check()
    view = await _invitation(call, own)
    now = services.clock()
    if view.status_at(now) == "expired":
        raise ApiError("invitation_expired")
    email = await open_email(services, view)
    if view.ended is not None:
        raise ApiError("invitation_closed")
    if email is None:
        raise ApiError("invited_erased")
    await admit_mail(call, services.lookup.email(email))
    await send_invitation(call, own, view, email)
    return invitation_shown(view, email, now)


async def list_all(call: Call[None, PageQuery]) -> InvitationList:
    """The organization's invitations, ended ones too."""
    services, query = call.services, call.query
    own = await own_organization(call)
    page = await list_invitations(services.documents, services.shards, own.id, limit=query.limit, after=query.after())
    now = services.clock()
    emails = {view.id: await open_email(services, view) for view in page.items}
    return InvitationList(**list_fields(page, lambda view: invitation_shown(view, emails[view.id], now)))


async def revoke(call: Call[None, None]) -> InvitationShown:
    """Ends an open invitation; of a revoked one it changes nothing and answers the same."""
    services = call.services
    own = await own_organization(call)
    view = await _invitation(call, own)
    draft = call.draft(f"org:{own.id}", account=own.id)
    await draft.submit(RevokeInvitation(by=call.caller.user_id, invitation_id=view.id))
    return invitation_shown(await _invitation(call, own), None, services.clock())


async def _sealed(services: Services, org_id: str, invitation_id: str, email: str) -> str:
    """The address under the invitation's own key; nothing where that went with the invitation, a moment ago."""
    try:
        return await services.sealer.seal(address_subject(org_id, invitation_id), EMAIL_PLACE, email.encode())
    except Erased:
        return ""


async def _refuse_member(services: Services, org_id: str, email_hash: str) -> None:
    """409 `already_member` for the address of one; a courtesy, for who accepts decides."""
    user_id = await find_user_id(services.documents, email_hash)
    if user_id is not None and await get_member(services.documents, services.shards, org_id, user_id) is not None:
        raise ApiError("already_member", param="email")


async def _invitation(call: Call[Any, Any], own: OwnOrganization) -> InvitationView:
    services = call.services
    view = await get_invitation(services.documents, services.shards, own.id, call.path["invitation_id"])
    if view is None:
        raise ApiError("invitation_not_found")
    return view


_INVITE = Route(
    method="POST",
    path="/orgs/{id}/invite",
    handler=invite,
    summary="Invite into an organization",
    description="The mail with the token goes to the address; whoever holds it accepts it, once, until it expires.",
    tag="organizations",
    access=needs("orgs:write", level="admin", fresh=True),
    body=NewInvitation,
    answers={201: InvitationShown},
    errors=(
        "invalid_email",
        "invalid_expiry",
        "organization_not_found",
        "already_member",
        "already_invited",
        "seats_used_up",
        "too_many_members",
        "too_many_invitations",
        "mail_too_soon",
        "mailer_not_configured",
        "mailer_busy",
    ),
    write=True,
    path_examples=_EXAMPLE_ID,
    example={"email": "grace@example.com", "level": "write"},
)

ROUTES = (
    _INVITE,
    Route(
        method="GET",
        path="/orgs/{id}/invitations",
        handler=list_all,
        summary="List an organization's invitations",
        tag="organizations",
        access=needs("orgs:read", level="admin"),
        query=PageQuery,
        answers={200: InvitationList},
        errors=("organization_not_found", "invalid_cursor"),
        path_examples=_EXAMPLE_ID,
    ),
    Route(
        method="POST",
        path="/orgs/{id}/invitations/{invitation_id}/send",
        handler=send_again,
        summary="Send an invitation again",
        tag="organizations",
        access=needs("orgs:write", level="admin", fresh=True),
        answers={200: InvitationShown},
        errors=(
            "organization_not_found",
            "invitation_not_found",
            "invitation_expired",
            "invitation_closed",
            "invited_erased",
            "mail_too_soon",
            "mailer_not_configured",
            "mailer_busy",
        ),
        path_examples=_EXAMPLE_IDS,
    ),
    Route(
        method="DELETE",
        path="/orgs/{id}/invitations/{invitation_id}",
        handler=revoke,
        summary="Revoke an invitation",
        tag="organizations",
        access=needs("orgs:write", level="admin"),
        answers={200: InvitationShown},
        errors=("organization_not_found", "invitation_not_found", "invitation_closed"),
        write=True,
        path_examples=_EXAMPLE_IDS,
    ),
)
