"""Asks Stripe, through its official library: what is needed of it, as plain dictionaries, bounded in time.

The library is imported when this module is, and this module only where Stripe is the provider. It uses the process's
one outbound client. The API version is pinned: what a dashboard is set to changes nothing here.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import stripe
import structlog

from api.errors import ApiError

API_VERSION = "2026-10-28.endive"
ATTEMPT_S = 8.0
RETRIES = 1
CALL_S = 15.0
"""All tries of one question, and the pauses between them."""
PAGE = 100
PAGES_MAX = 10

_log = structlog.get_logger()
T = TypeVar("T")
Thing = Mapping[str, Any]


class StripeGone(Exception):
    """Stripe has no such object, or deleted it; `param` names the parameter that named it, if one did."""

    def __init__(self, param: str | None) -> None:
        super().__init__(param)
        self.param = param


class StripeRefused(Exception):
    """Stripe understands what is asked, and will not do it; `code` says why, if it has one."""

    def __init__(self, error: stripe.InvalidRequestError) -> None:
        super().__init__(str(error))
        self.code = error.code
        self.http_status = error.http_status


class StripeClient:
    """Each method raises 503 `billing_unavailable` where Stripe does not answer, or will not."""

    def __init__(self, secret_key: str, api_url: str, http: aiohttp.ClientSession) -> None:
        stripe.enable_telemetry = False
        self.livemode = secret_key[2:].startswith("_live_")
        client = stripe.AIOHTTPClient(session=http, timeout=aiohttp.ClientTimeout(total=ATTEMPT_S))
        self._api = stripe.StripeClient(
            secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_url},
            http_client=client,
            max_network_retries=RETRIES,
        ).v1

    async def create_customer(self, metadata: Mapping[str, str], repeat_key: str) -> str:
        """The id of a customer; the same for the same key within a day."""
        made = await self._asked(
            self._api.customers.create_async({"metadata": dict(metadata)}, {"idempotency_key": repeat_key})
        )
        return str(made["id"])

    async def create_session(self, params: Any, repeat_key: str) -> Thing:
        """A checkout session. `StripeGone` where it names what is not there."""
        return await self._asked(self._api.checkout.sessions.create_async(params, {"idempotency_key": repeat_key}))

    async def session(self, session_id: str) -> Thing:
        """A checkout session with its lines."""
        return await self._asked(self._api.checkout.sessions.retrieve_async(session_id, {"expand": ["line_items"]}))

    async def session_of(self, payment_id: str) -> Thing | None:
        """The checkout session that a payment intent was made by, with its lines; `None` for all other payments."""
        found = await self._asked(
            self._api.checkout.sessions.list_async(
                {"payment_intent": payment_id, "limit": 1, "expand": ["data.line_items"]}
            )
        )
        return next(iter(found["data"]), None)

    async def open_sessions(self, customer_id: str) -> Sequence[Thing]:
        """The checkout sessions of a customer that can still be paid, the newest first."""
        found: list[Thing] = []
        params: Any = {"customer": customer_id, "status": "open", "limit": PAGE}
        for _ in range(PAGES_MAX):
            page = await self._asked(self._api.checkout.sessions.list_async(params))
            found += page["data"]
            if not page["has_more"]:
                break
            params = {**params, "starting_after": found[-1]["id"]}
        return found

    async def expire_session(self, session_id: str) -> Thing:
        """The session after it was expired; one that is paid already, or has expired, as it is."""
        try:
            return await self._tried(self._api.checkout.sessions.expire_async(session_id))
        except StripeRefused:
            return await self.session(session_id)

    async def payment(self, payment_id: str) -> Thing:
        """A payment intent with its charge."""
        return await self._asked(self._api.payment_intents.retrieve_async(payment_id, {"expand": ["latest_charge"]}))

    async def disputes(self, payment_id: str) -> Sequence[Thing]:
        """All disputes of a payment intent."""
        found = await self._asked(self._api.disputes.list_async({"payment_intent": payment_id, "limit": PAGE}))
        return list(found["data"])

    async def subscription(self, subscription_id: str) -> Thing:
        """A subscription."""
        return await self._asked(self._api.subscriptions.retrieve_async(subscription_id))

    async def subscriptions(self, customer_id: str) -> Sequence[Thing]:
        """The newest subscriptions of a customer with their last invoices, ended ones too."""
        found = await self._asked(
            self._api.subscriptions.list_async(
                {"customer": customer_id, "status": "all", "limit": PAGE, "expand": ["data.latest_invoice"]}
            )
        )
        return list(found["data"])

    async def cancel(self, subscription_id: str) -> None:
        """Ends a subscription at once."""
        await self._asked(self._api.subscriptions.cancel_async(subscription_id))

    async def mark(self, subscription_id: str, metadata: Mapping[str, str]) -> None:
        """Writes something down about a subscription, beside what is there."""
        await self._asked(self._api.subscriptions.update_async(subscription_id, {"metadata": dict(metadata)}))

    async def payments_of(self, invoice_id: str) -> Sequence[str]:
        """The payment intents that have paid an invoice."""
        found = await self._asked(self._api.invoice_payments.list_async({"invoice": invoice_id, "limit": PAGE}))
        paid = (each for each in found["data"] if each["status"] == "paid")
        intents = (each["payment"].get("payment_intent") for each in paid)
        return [str(each) for each in intents if each is not None]

    async def refund(self, payment_id: str, repeat_key: str) -> bool:
        """Sends back what is left of a payment, once; false where nothing of it is, or its bank has it."""
        try:
            await self._tried(
                self._api.refunds.create_async(
                    {"payment_intent": payment_id, "reason": "duplicate"}, {"idempotency_key": repeat_key}
                )
            )
        except StripeRefused as refused:
            if refused.code not in ("charge_already_refunded", "charge_disputed"):
                raise _unavailable(refused) from refused
            return False
        return True

    async def invoice(self, invoice_id: str) -> Thing:
        """An invoice with its lines."""
        return await self._with_lines(await self._asked(self._api.invoices.retrieve_async(invoice_id)))

    async def paid_invoices(self, subscription_id: str) -> Sequence[Thing]:
        """The newest paid invoices of a subscription, with their lines."""
        found = await self._asked(
            self._api.invoices.list_async({"subscription": subscription_id, "status": "paid", "limit": PAGE})
        )
        return [await self._with_lines(each) for each in found["data"]]

    async def _with_lines(self, invoice: Thing) -> Thing:
        """Stripe shows the first ten lines, others to who asks for them."""
        if not invoice["lines"]["has_more"]:
            return invoice
        lines = await self._asked(self._api.invoices.line_items.list_async(invoice["id"], {"limit": PAGE}))
        return {**invoice, "lines": lines}

    async def invoice_of(self, payment_id: str) -> Thing | None:
        """The invoice that a payment intent has paid, with its lines; `None` for all other payments."""
        found = await self._asked(
            self._api.invoice_payments.list_async(
                {"payment": {"type": "payment_intent", "payment_intent": payment_id}, "limit": 1}
            )
        )
        paid = next(iter(found["data"]), None)
        return None if paid is None else await self.invoice(str(paid["invoice"]))

    async def portal(self, customer_id: str, return_url: str) -> str:
        """The address of the customer portal. `StripeGone` where the customer is not there."""
        made = await self._asked(
            self._api.billing_portal.sessions.create_async({"customer": customer_id, "return_url": return_url})
        )
        return str(made["url"])

    async def _asked(self, asking: Awaitable[stripe.StripeObject]) -> Thing:
        try:
            return await self._tried(asking)
        except StripeRefused as refused:
            raise _unavailable(refused) from refused

    async def _tried(self, asking: Awaitable[stripe.StripeObject]) -> Thing:
        """`StripeRefused` for what the state of things forbids, which is an answer to who asks for it."""
        try:
            async with asyncio.timeout(CALL_S):
                return (await asking).to_dict()
        except stripe.IdempotencyError as error:
            if error.code == "idempotency_key_in_use":  # another process asks for the same in this moment
                raise _unavailable(error) from error
            raise ApiError("idempotency_key_reused", param="Idempotency-Key") from None
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                raise StripeGone(error.param) from None
            raise StripeRefused(error) from error
        except (stripe.StripeError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> ApiError:
    """What went wrong is the operator's business: a wrong key and an outage look alike to clients."""
    code, status = getattr(error, "code", None), getattr(error, "http_status", None)
    _log.error("stripe_failed", error=type(error).__name__, code=code, status=status, reason=str(error)[:300])
    return ApiError("billing_unavailable", headers={"Retry-After": "5"})
