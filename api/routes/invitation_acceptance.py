"""Accepting an invitation: `POST /orgs/invitations/accept`."""

from api.account_plan import seats_of
from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError
from api.identity.own_organization import open_name
from api.mail import invitation_token
from api.organization_shown import Acceptance, OrganizationShown, organization_shown
from api.route import Route, needs
from domain.invitation import AcceptInvitation
from projections.organizations import get_organization


async def accept(call: Call[Acceptance, None]) -> OrganizationShown:
    """Makes the caller a member. Who holds the token was reached at the address, whatever address the user has here."""
    services, caller = call.services, call.caller
    if caller.kind != "user":
        raise ApiError("login_required")
    token = invitation_token.verify(services.lookup, call.body.token)
    view = None
    if token is not None:
        view = await get_organization(services.documents, services.shards, token.org_id)
    if token is None or view is None:
        raise ApiError("invitation_not_found", param="token")
    draft = call.draft(f"org:{view.id}", account=view.id)
    command = AcceptInvitation(
        invitation_id=token.invitation_id, user_id=caller.user_id, members_max=await seats_of(services, view.id)
    )
    outcome = await draft.submit(command)
    return organization_shown(view, await open_name(services, view), data_of(outcome)["level"])


ROUTES = (
    Route(
        method="POST",
        path="/orgs/invitations/accept",
        handler=accept,
        summary="Accept an invitation",
        description="With the login token of the user who shall become a member.",
        tag="organizations",
        access=needs("orgs:write"),
        body=Acceptance,
        answers={200: OrganizationShown},
        errors=(
            "login_required",
            "invitation_not_found",
            "invitation_expired",
            "invitation_closed",
            "already_member",
            "seats_used_up",
            "too_many_members",
            "erasure_begun",
        ),
        write=True,
        example={"token": "inv_…"},
    ),
)
