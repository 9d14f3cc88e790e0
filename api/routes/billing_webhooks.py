"""What billing providers tell by themselves: believed by its signature alone, and looked up before it counts."""

from collections.abc import Iterable

import structlog
from msgspec import Struct

from api.billing import svix
from api.billing.provider import Webhook
from api.billing.taking import take
from api.call import Call
from api.errors import ApiError
from api.route import PUBLIC, Route
from telemetry.billing import ProviderName

WEBHOOK_BYTES_MAX = 512 * 1024
_log = structlog.get_logger()


class Received(Struct, frozen=True, kw_only=True):
    """The log has what the event came to. `told` is how much that was; 0 where it concerns nothing here."""

    received: bool = True
    told: int = 0


async def from_stripe(call: Call[None, None]) -> Received:
    """Answers 200 once the log has it for good; whatever else is answered makes Stripe send it again."""
    return await _taken(call, "stripe", ("stripe-signature",))


async def from_autumn(call: Call[None, None]) -> Received:
    """The same of Autumn, whose webhooks Svix delivers."""
    return await _taken(call, "autumn", svix.HEADERS)


async def _taken(call: Call[None, None], provider: ProviderName, headers: Iterable[str]) -> Received:
    services = call.services
    billing = services.billing
    if billing.name != provider:
        raise ApiError("not_configured")
    told = await billing.news(Webhook(body=call.raw_body, headers={name: call.header(name) or "" for name in headers}))
    return Received(told=await take(services, told))


_ERRORS = (
    "not_configured",
    "billing_unavailable",
    "invalid_signature",
    "invalid_event",
    "balance_too_large",
    "payment_forgotten",
    "outcome_unknown",
    "invalid_subscription",
    "payment_pending",
)

ROUTES = (
    Route(
        method="POST",
        path="/billing/webhooks/stripe",
        handler=from_stripe,
        summary="Take an event of Stripe",
        description="For Stripe alone: the signature of the body, in `Stripe-Signature`, is what is believed.",
        tag="billing",
        access=PUBLIC,
        answers={200: Received},
        errors=(*_ERRORS, "price_unknown", "too_many_disputes"),
        request_headers=("Stripe-Signature",),
        raw=True,
        unlimited=True,
        body_bytes_max=WEBHOOK_BYTES_MAX,
    ),
    Route(
        method="POST",
        path="/billing/webhooks/autumn",
        handler=from_autumn,
        summary="Take an event of Autumn",
        description="For Autumn alone: the signature of the body, in `svix-signature`, is what is believed.",
        tag="billing",
        access=PUBLIC,
        answers={200: Received},
        errors=(*_ERRORS, "plan_unknown"),
        request_headers=svix.HEADERS,
        raw=True,
        unlimited=True,
        body_bytes_max=WEBHOOK_BYTES_MAX,
    ),
)
