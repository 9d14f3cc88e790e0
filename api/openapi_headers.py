"""Headers as the OpenAPI document describes them."""

from typing import Any

from msgspec import Struct

ALWAYS = ("X-Request-Id",)
"""Headers of every answer."""
RATES = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
    "X-Quota-Warning",
)
"""Headers of every answer to somebody who is under a limit."""


def _text(description: str, example: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}, "example": example}


_CREDITS = r"^-?\d+\.\d{6}$"
HEADERS: dict[str, Any] = {
    "X-Request-Id": _text("The request's id: yours if you sent a sane one, else ours.", "req_0f8fad5bd9cb469fa165708"),
    "Location": _text("Where the command's status is.", "/commands/cmd_AQAAAAAA"),
    "Retry-After": _text("Seconds after which to try again.", "1", pattern=r"^\d+$"),
    "Link": _text(
        "Of CSV that goes on: the address of the next page (RFC 8288).",
        '</billing/credits/transactions?limit=20&cursor=WyIwIiwiMCJd>; rel="next"',
    ),
    "Preference-Applied": _text("`respond-async` if the client preferred not to wait (RFC 7240).", "respond-async"),
    "WWW-Authenticate": _text("The challenge (RFC 6750).", "Bearer"),
    "X-Credits-Cost": _text("What the request cost, in credits.", "0.000123", pattern=_CREDITS),
    "X-Credits-Remaining": _text("The credits that are available after it.", "19.999877", pattern=_CREDITS),
    "X-Settlement": _text(
        "`settled`: every read shows the charge; `pending`: it is on its way.", "settled", enum=["settled", "pending"]
    ),
    "X-Quota-Warning": _text(
        "What is nearly used up, from 80 % on: a list of quotas with `used`, `limit` and `reset` in seconds. Of"
        " `monthly_credits` both are micro-credits, and there is no `reset`.",
        '"messages_per_day";used=85;limit=100;reset=3600',
    ),
    "X-RateLimit-Limit": _text("What the limit with the least left allows in its window.", "300", pattern=r"^\d+$"),
    "X-RateLimit-Remaining": _text("How many requests of it are left.", "299", pattern=r"^\d+$"),
    "X-RateLimit-Reset": _text(
        "Seconds until there are more of them again, at most the window.", "60", pattern=r"^\d+$"
    ),
    "RateLimit-Policy": _text(
        "All limits that the request counted against: quota `q` in a window of `w` seconds"
        " (draft-ietf-httpapi-ratelimit-headers-10).",
        '"account-minute";q=300;w=60',
    ),
    "RateLimit": _text(
        "How they stand: `r` requests left, more in `t` seconds (the same draft).", '"account-minute";r=299;t=60'
    ),
    "X-Subscription-Status": _text(
        "How the account's subscription stands.", "active", enum=["trialing", "active", "past_due", "canceled"]
    ),
}
"""Response headers by name; routes name theirs in `response_headers`."""


class RequestHeader(Struct, frozen=True, kw_only=True):
    """A request header that is no credential."""

    description: str
    example: str
    pattern: str | None = None
    writes_only: bool = False
    private_only: bool = False
    length_max: int | None = None
    """Only where a longer value is refused; others are ignored when they are of no use."""

    def described(self) -> dict[str, Any]:
        """Its part of an OpenAPI parameter."""
        schema: dict[str, Any] = {"type": "string"}
        if self.length_max is not None:
            schema["maxLength"] = self.length_max
        if self.pattern is not None:
            schema["pattern"] = self.pattern
        return {"description": self.description, "schema": schema, "example": self.example}


ROUTE_HEADERS: dict[str, RequestHeader] = {
    "Stripe-Signature": RequestHeader(
        description="When Stripe signed the body, and its signature (`t=…,v1=…`); without a right one it is 400.",
        example="t=1795356849,v1=" + "0" * 64,
    ),
    "svix-id": RequestHeader(
        description="The message's id, the same in every repeat; it is signed.",
        example="msg_p5jXN8AQM9LWM0D4loKWxJek",
    ),
    "svix-timestamp": RequestHeader(
        description="When the message was signed, in seconds since 1970; within five minutes of now.",
        example="1795356849",
    ),
    "svix-signature": RequestHeader(
        description="Signatures of id, time and body (`v1,…`); without a right one it is 400.",
        example="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
}
"""Headers that a route needs, named in its `request_headers`."""
REQUEST_HEADERS: dict[str, RequestHeader] = {
    "X-Request-Id": RequestHeader(
        description="An id of your own for logs and support; ignored unless it is short and plain.",
        example="checkout-42",
    ),
    "X-Organization": RequestHeader(
        description="Act for this organization, of which the caller is a member. Keys have their account for ever.",
        example="org_00000000000000000000000000000000",
        pattern=r"^org_[0-9a-f]{32}$",
        private_only=True,
        length_max=36,
    ),
    "Idempotency-Key": RequestHeader(
        description="Repeats under one key have one effect and one answer. Another request under it is 422.",
        example="8e03978e-40d5-43e8-bc93-6894a57f9324",
        pattern=r"^[\x21-\x7e]+$",
        writes_only=True,
        length_max=255,
    ),
    "Prefer": RequestHeader(
        description="`respond-async`: answer 202 at once, without waiting for the outcome (RFC 7240).",
        example="respond-async",
        writes_only=True,
    ),
}
