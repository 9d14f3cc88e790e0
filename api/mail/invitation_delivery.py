"""What an invitation's mail says, and how often one may be sent."""

from typing import Any

from api.call import Call
from api.identity.own_organization import OwnOrganization, open_name
from api.mail.invitation_token import InvitationToken
from api.organization_shown import EMAIL_PLACE
from api.parts import Services
from api.profile import subject_of
from api.rfc3339 import format_instant
from api.sealing import Erased
from domain.invitation import address_subject
from projections.invitations import InvitationView

MAIL = "invitation"


async def admit_mail(call: Call[Any, None], email_hash: str) -> None:
    """429 `mail_too_soon` for who has sent too many to the address, whatever the organization."""
    await call.services.mail_pace.admit(f"{call.caller.user_id} {email_hash}")


async def send_invitation(call: Call[Any, None], own: OwnOrganization, view: InvitationView, email: str) -> None:
    """Hands the mail with the token to the mailer. 503 `mailer_busy`."""
    services = call.services
    data = {
        "token": InvitationToken(org_id=own.id, invitation_id=view.id).sign(services.lookup),
        "org_id": own.id,
        "organization": await open_name(services, own.view),
        "level": view.level,
        "expires_at": format_instant(view.expires_at),
    }
    await services.mailer.send(MAIL, email, data)


async def open_email(services: Services, view: InvitationView) -> str | None:
    """The invited address, as long as the invitation has not ended and nobody with the address was erased."""
    if view.email_sealed is None:
        return None
    subject = address_subject(view.org_id, view.id) if view.own_key else subject_of(view.org_id)
    try:
        return (await services.sealer.open(subject, EMAIL_PLACE, view.email_sealed)).decode()
    except Erased:  # a moment ago
        return None
