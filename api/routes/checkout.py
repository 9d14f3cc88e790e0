"""Buying plans and credits: a page to pay on, and the client that comes back from it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from api.billing.provider import Checkout, Claim, Purchase, Told
from api.billing.recalling import reminded
from api.billing.telling import Teller
from api.call import Call
from api.command_log.commands import data_of
from api.credits_shown import Amount
from api.errors import ApiError, declare
from api.rfc3339 import maybe_instant
from api.route import Route, needs
from domain.account.payments import ConfirmPayment
from domain.account.plan_terms import SEATS_MAX
from domain.money import format_credits, parse_credits
from eventstore.records import Outcome

URL_LENGTH_MAX = 2_000
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SESSION_ID = re.compile(r"^[A-Za-z0-9_-]{1,200}$", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)

declare(
    "invalid_url",
    "invalid",
    "The address is none that a browser may be sent to.",
    "Use an absolute https:// address (http:// on this machine alone), in visible ASCII and without a user's name.",
)
declare("invalid_purchase", "invalid", "Name a plan or a top_up: one thing is bought at a time.", "Send one of them.")

PageUrl: TypeAlias = Annotated[
    str, Meta(max_length=URL_LENGTH_MAX, description="Where the browser goes then; https, or http on this machine.")
]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]


class NewCheckout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan, for so many seats, or a top-up. Prices are the provider's, and nobody else's."""

    success_url: PageUrl
    cancel_url: PageUrl
    plan: Annotated[Id, Meta(description="An id of `GET /billing/plans`.")] | None = None
    top_up: Annotated[Id, Meta(description="An id of the operator's top-ups.")] | None = None
    seats: Annotated[int, Meta(ge=1, le=SEATS_MAX)] = 1


class CheckoutShown(Struct, frozen=True, kw_only=True):
    """Send the browser to `url`; keep `session_id` for `POST /billing/checkout/process`."""

    url: str
    session_id: str
    expires_at: str | None


class PaidCheckout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkout that the client says is paid."""

    session_id: Annotated[str, Meta(extra_json_schema={"pattern": _SESSION_ID.pattern})]
    amount: Annotated[Amount | None, Meta(description="The credits you expect; another number is refused.")] = None


class CheckoutProcessed(Struct, frozen=True, kw_only=True):
    """What the checkout came to. Of a top-up the credits and the account's figures, of a plan the subscription."""

    session_id: str
    kind: Literal["top_up", "plan"]
    credits: str | None = None
    taken_back: str | None = None
    """What of it has left again by refunds and disputes."""
    balance: str | None = None
    available: str | None = None
    debt: str | None = None
    plan: str | None = None
    status: str | None = None


async def begin(call: Call[NewCheckout, None]) -> CheckoutShown:
    """Begins a purchase; under one `Idempotency-Key` the same page, within a day."""
    body, services, account_id = call.body, call.services, call.caller.account_id
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    if (body.plan is None) == (body.top_up is None):
        raise ApiError("invalid_purchase", param="plan")
    plan = None if body.plan is None else services.plans.get(body.plan)
    if body.plan is not None and plan is None:
        raise ApiError("unknown_plan", param="plan")
    if plan is not None and plan.closed:
        raise ApiError("not_for_sale", param="plan")
    most = 1 if plan is None or not plan.per_seat else (plan.seats or SEATS_MAX)
    if body.seats > most:
        raise ApiError("invalid_subscription", f"seats must be 1 to {most}.", param="seats")
    purchase = Purchase(
        account_id=account_id,
        plan=body.plan,
        top_up=body.top_up,
        seats=body.seats,
        success_url=page_url(body.success_url, "success_url"),
        cancel_url=page_url(body.cancel_url, "cancel_url"),
        repeat_key=call.draft(f"account:{account_id}").command_id,
        trial=account_id == call.caller.user_id,
    )
    found: Checkout = await services.billing.checkout(purchase)
    return CheckoutShown(url=found.url, session_id=found.session_id, expires_at=maybe_instant(found.expires_at))


def page_url(text: str, name: str) -> str:
    """400 `invalid_url` for what is no absolute address, or would send a browser there unencrypted."""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        good = good and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        good = False
    if not good or _VISIBLE.fullmatch(text) is None:
        message = f"{name} must be an absolute https:// address (http:// on this machine alone), in visible ASCII."
        raise ApiError("invalid_url", message, param=name)
    return text


async def process(call: Call[PaidCheckout, None]) -> CheckoutProcessed:
    """Grants what was bought, once, whether the client or the provider says so first."""
    body, services, caller = call.body, call.services, call.caller
    if _SESSION_ID.fullmatch(body.session_id) is None:
        raise ApiError(
            "invalid_request", "session_id is not one that POST /billing/checkout answers.", param="session_id"
        )
    amount = None if body.amount is None else parse_credits(body.amount)
    told = await services.billing.paid(Claim(account_id=caller.account_id, session_id=body.session_id, amount=amount))
    if not told:
        raise ApiError("payment_not_granted", param="session_id")
    told = await reminded(services.documents, services.shards, told)
    outcomes = await Teller(services.commands, services.clock).tell(told, caller.actor())
    # Other processes see the stamp within a second; this one takes the new limits now.
    services.identities.cache.stamped((f"account:{caller.account_id}",))
    return _processed(body.session_id, told, outcomes)


def _processed(session_id: str, told: Sequence[Told], outcomes: Sequence[Outcome | None]) -> CheckoutProcessed:
    """By the last outcome: what refunds have left of it. 503 `payment_pending` while there is none."""
    last = outcomes[-1]
    if last is None:
        raise ApiError("payment_pending", headers={"Retry-After": "5"})
    data: dict[str, Any] = data_of(last)
    if isinstance(told[0].command, ConfirmPayment):
        amounts = {name: format_credits(data[name]) for name in ("credits", "balance", "available", "debt")}
        return CheckoutProcessed(
            session_id=session_id, kind="top_up", taken_back=format_credits(data["taken"]), **amounts
        )
    return CheckoutProcessed(session_id=session_id, kind="plan", plan=data["plan"], status=data["status"])


ROUTES = (
    Route(
        method="POST",
        path="/billing/checkout",
        handler=begin,
        summary="Begin a purchase",
        description="A page of the billing provider on which a plan or a top-up is paid.",
        tag="billing",
        paying=True,
        access=needs("billing:pay"),
        body=NewCheckout,
        answers={200: CheckoutShown},
        errors=(
            "not_configured",
            "billing_unavailable",
            "payment_pending",
            "not_for_sale",
            "invalid_purchase",
            "invalid_url",
            "unknown_plan",
            "invalid_subscription",
            "already_subscribed",
            "checkout_superseded",
            "live_key_required",
        ),
        write=True,
        example={
            "plan": "pro",
            "success_url": "https://app.example.com/paid",
            "cancel_url": "https://app.example.com/plans",
        },
    ),
    Route(
        method="POST",
        path="/billing/checkout/process",
        handler=process,
        summary="Process a paid checkout",
        description=(
            "What was paid is asked of the billing provider. Granted once: repeat it as often as you like, before and"
            " after the provider's own webhook."
        ),
        tag="billing",
        paying=True,
        claim=True,
        access=needs("billing:pay", while_suspended=True),
        body=PaidCheckout,
        answers={200: CheckoutProcessed},
        errors=(
            "not_configured",
            "billing_unavailable",
            "payment_pending",
            "payment_not_granted",
            "session_not_yours",
            "session_unpaid",
            "session_expired",
            "amount_mismatch",
            "invalid_amount",
            "price_unknown",
            "balance_too_large",
            "payment_forgotten",
            "outcome_unknown",
            "invalid_subscription",
        ),
        example={"session_id": "cs_test_a1b2c3"},
    ),
)
