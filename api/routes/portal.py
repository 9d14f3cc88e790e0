"""The customer portal of the billing provider: cards, invoices, and the end of a subscription."""

from msgspec import Struct

from api.call import Call
from api.errors import ApiError
from api.route import Route, needs
from api.routes.checkout import PageUrl, page_url


class NewPortal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the browser comes back to."""

    return_url: PageUrl


class PortalShown(Struct, frozen=True, kw_only=True):
    """Send the browser there within minutes; whoever has the address can change the subscription."""

    url: str


async def open_portal(call: Call[NewPortal, None]) -> PortalShown:
    """The address of the portal for the caller's account."""
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    return_url = page_url(call.body.return_url, "return_url")
    return PortalShown(url=await call.services.billing.portal(call.caller.account_id, return_url))


ROUTES = (
    Route(
        method="POST",
        path="/billing/portal",
        handler=open_portal,
        summary="Open the customer portal",
        tag="billing",
        paying=True,
        access=needs("billing:pay", while_suspended=True),
        body=NewPortal,
        answers={200: PortalShown},
        errors=("not_configured", "billing_unavailable", "no_customer", "invalid_url", "live_key_required"),
        example={"return_url": "https://app.example.com/settings"},
    ),
)
