"""What the payment provider knows: its objects as dictionaries in Stripe's shape, and the events that tell of them.

Methods named like what people and banks do (`pay`, `refund`, `dispute`, …) change objects and add events, as Stripe's
dashboard and its customers would. Amounts are cents.
"""

import copy
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from devnet.stripe.invoice_lines import first_lines, prorated, whole

PERIOD_S = 30 * 86_400
SESSION_S = 86_400
Thing: TypeAlias = dict[str, Any]
Outage: TypeAlias = Literal["none", "down", "hang", "garbage", "unauthorized"]
"""How requests are answered: as they should, 503, never, not JSON, 401."""


class Price(Struct, frozen=True, kw_only=True):
    """What something costs, once or each month."""

    id: str
    cents: int
    monthly: bool
    currency: str = "usd"

    def shown(self) -> Thing:
        """As Stripe shows it."""
        return {
            "id": self.id,
            "object": "price",
            "currency": self.currency,
            "unit_amount": self.cents,
            "recurring": {"interval": "month", "interval_count": 1} if self.monthly else None,
        }


class Missing(Exception):
    """There is no such object; `param` is what named it."""

    def __init__(self, param: str, object_id: str) -> None:
        super().__init__(f"No such object: '{object_id}'")
        self.param = param


class DevStripe:
    """One account at the provider."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        self.url = ""
        self.secret_key = f"sk_test_{secrets.token_hex(12)}"
        self.webhook_secret = f"whsec_{secrets.token_hex(16)}"
        self.prices = {each.id: each for each in prices}
        self.things: dict[str, Thing] = {}
        """All objects by id."""
        self.events: list[Thing] = []
        self.outage: Outage = "none"
        self.answers_left: int | None = None
        """After so many requests the next ones are 503; `None`: never."""
        self.asked: list[str] = []
        """Method and path of each request."""

    def find(self, object_id: str, kind: str, param: str = "id") -> Thing:
        """An object of a kind. `Missing`."""
        found = self.things.get(object_id)
        if found is None or found["object"] != kind or found.get("deleted"):
            raise Missing(param, object_id)
        return found

    def all(self, kind: str, **values: str) -> list[Thing]:
        """Those of a kind with these values, the newest first."""
        found = [each for each in self.things.values() if each["object"] == kind]
        return [each for each in reversed(found) if all(each.get(name) == value for name, value in values.items())]

    def customer(self, params: Thing) -> Thing:
        """A new customer."""
        return self._new("cus_", "customer", metadata=params.get("metadata", {}))

    def session(self, params: Thing) -> Thing:
        """A new checkout session. `Missing` for a customer or price that is not there."""
        customer = self.find(params["customer"], "customer", "customer")
        lines = [self._line(each) for each in params["line_items"]]
        total = sum(line["amount_total"] for line in lines)
        session_id = f"cs_test_{secrets.token_hex(16)}"
        now = int(time.time())
        return self._new(
            session_id,
            "checkout.session",
            mode=params["mode"],
            status="open",
            payment_status="unpaid",
            amount_subtotal=total,
            amount_total=total,
            currency=lines[0]["currency"],
            client_reference_id=params.get("client_reference_id"),
            customer=customer["id"],
            metadata=params.get("metadata", {}),
            payment_intent=None,
            subscription=None,
            success_url=params["success_url"],
            cancel_url=params["cancel_url"],
            url=f"{self.url}/pay/{session_id}",
            expires_at=now + SESSION_S,
            line_items={"object": "list", "data": lines, "has_more": False},
            later={
                "payment": params.get("payment_intent_data", {}).get("metadata", {}),
                "subscription": params.get("subscription_data", {}),
            },
        )

    def portal(self, params: Thing) -> Thing:
        """A new session of the customer portal."""
        customer = self.find(params["customer"], "customer", "customer")
        made = self._new("bps_", "billing_portal.session", customer=customer["id"], return_url=params["return_url"])
        made["url"] = f"{self.url}/portal/{made['id']}"
        return made

    def pay(self, session_id: str, *, settled: bool = True) -> Thing:
        """The customer pays; `settled` is false for a transfer whose money is on its way (`settle` brings it)."""
        session = self.find(session_id, "checkout.session")
        if session["status"] == "complete":
            return session
        if session["status"] == "expired":
            raise Missing("id", session_id)
        session["status"] = "complete"
        if session["mode"] == "subscription":
            self._subscribe(session)
        elif session["amount_total"] == 0:
            session["payment_status"] = "no_payment_required"
        elif settled:
            self._charge_session(session)
        self._tell("checkout.session.completed", session)
        return session

    def settle(self, session_id: str) -> None:
        """The money of a transfer has come in."""
        session = self.find(session_id, "checkout.session")
        self._charge_session(session)
        self._tell("checkout.session.async_payment_succeeded", session)

    def expire(self, session_id: str) -> Thing:
        """Nobody paid in time, or another one took its place. `ValueError` for one that is not open."""
        session = self.find(session_id, "checkout.session")
        if session["status"] != "open":
            raise ValueError(f"This Checkout Session has a status of {session['status']}.")
        session["status"] = "expired"
        self._tell("checkout.session.expired", session)
        return session

    def refund(self, payment_id: str, cents: int | None = None) -> Thing:
        """Sends a part of the money back, or what is left of it. `ValueError` where that is nothing."""
        charge = self.charge_of(payment_id)
        cents = charge["amount"] - charge["amount_refunded"] if cents is None else cents
        if cents == 0:
            raise ValueError("charge_already_refunded")
        charge["amount_refunded"] += cents
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        refund = self._new("re_", "refund", amount=cents, charge=charge["id"], payment_intent=payment_id)
        refund["status"] = "succeeded"
        self._tell("charge.refunded", charge)
        return refund

    def fail_refund(self, refund_id: str) -> None:
        """The customer's bank did not take it."""
        refund = self.find(refund_id, "refund")
        charge = self.charge_of(refund["payment_intent"])
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        refund["status"] = "failed"
        self._tell("refund.failed", refund)

    def dispute(self, payment_id: str, cents: int | None = None) -> Thing:
        """The customer tells its bank that it did not buy this."""
        charge = self.charge_of(payment_id)
        charge["disputed"] = True
        dispute = self._new(
            "du_",
            "dispute",
            amount=charge["amount"] if cents is None else cents,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=payment_id,
            status="needs_response",
        )
        self._tell("charge.dispute.created", dispute)
        return dispute

    def close_dispute(self, dispute_id: str, status: Literal["won", "lost"]) -> None:
        """The bank has decided."""
        dispute = self.find(dispute_id, "dispute")
        dispute["status"] = status
        self._tell("charge.dispute.closed", dispute)

    def renew(self, subscription_id: str, *, paid: bool | None = True) -> None:
        """The next period begins; its invoice is paid, or not, or (`None`) a draft until `collect` an hour later."""
        subscription = self.find(subscription_id, "subscription")
        for item in subscription["items"]["data"]:
            item["current_period_start"] = item["current_period_end"]
            item["current_period_end"] += PERIOD_S
        subscription["status"] = "past_due" if paid is False else "active"
        self._invoice(subscription, paid=paid)
        self._tell("customer.subscription.updated", subscription)

    def collect(self, subscription_id: str) -> None:
        """The draft of the running period's invoice is paid."""
        invoice = self.find(self.find(subscription_id, "subscription")["latest_invoice"], "invoice")
        self._paid(invoice)
        self._tell("invoice.paid", invoice)

    def change(
        self, subscription_id: str, *, price: str | None = None, quantity: int | None = None, invoiced: bool = True
    ) -> None:
        """The customer takes another plan, or other seats; what that costs is paid at once, or not `invoiced`."""
        subscription = self.find(subscription_id, "subscription")
        item = subscription["items"]["data"][0]
        before = dict(item)
        if price is not None:
            item["price"] = self.prices[price].shown()
        if quantity is not None:
            item["quantity"] = quantity
        if invoiced:
            self._invoice(subscription, paid=True, lines=prorated(before, item, int(time.time())))
        self._tell("customer.subscription.updated", subscription)

    def cancel(self, subscription_id: str) -> None:
        """The subscription ends now. `Missing` where it has ended already."""
        subscription = self.find(subscription_id, "subscription")
        if subscription["status"] == "canceled":
            raise Missing("id", subscription_id)
        subscription |= {"status": "canceled", "ended_at": int(time.time())}
        self._tell("customer.subscription.deleted", subscription)

    def mark(self, subscription_id: str, params: Thing) -> Thing:
        """Somebody writes down something about the subscription."""
        subscription = self.find(subscription_id, "subscription")
        subscription["metadata"] = subscription["metadata"] | params["metadata"]
        self._tell("customer.subscription.updated", subscription)
        return subscription

    def charge_of(self, payment_id: str) -> Thing:
        """The charge of a payment intent."""
        return self.find(self.find(payment_id, "payment_intent")["latest_charge"], "charge")

    def _new(self, prefix: str, kind: str, **values: Any) -> Thing:
        object_id = prefix if kind == "checkout.session" else prefix + secrets.token_hex(10)
        thing = {"id": object_id, "object": kind, "created": int(time.time()), "livemode": False, **values}
        self.things[object_id] = thing
        return thing

    def _line(self, given: Thing) -> Thing:
        price = self.prices.get(given["price"])
        if price is None:
            raise Missing("line_items[0][price]", given["price"])
        quantity = int(given.get("quantity", 1))
        amount = price.cents * quantity
        return {
            "id": f"li_{secrets.token_hex(8)}",
            "object": "item",
            "amount_subtotal": amount,
            "amount_total": amount,
            "currency": price.currency,
            "price": price.shown(),
            "quantity": quantity,
        }

    def _charge_session(self, session: Thing) -> None:
        payment = self._charge(session["customer"], session["amount_total"], session["currency"])
        payment["metadata"] = session["later"]["payment"]
        session["payment_intent"] = payment["id"]
        session["payment_status"] = "paid"
        self._tell("payment_intent.succeeded", payment)

    def _charge(self, customer: str, cents: int, currency: str) -> Thing:
        payment = self._new("pi_", "payment_intent", status="succeeded", customer=customer, metadata={})
        charge = self._new(
            "ch_",
            "charge",
            amount=cents,
            amount_refunded=0,
            refunded=False,
            disputed=False,
            paid=True,
            currency=currency,
            customer=customer,
            payment_intent=payment["id"],
        )
        payment |= {"amount": cents, "amount_received": cents, "currency": currency, "latest_charge": charge["id"]}
        return payment

    def _subscribe(self, session: Thing) -> None:
        data, now = session["later"]["subscription"], int(time.time())
        trial_days = int(data.get("trial_period_days", 0))
        until = now + (trial_days * 86_400 or PERIOD_S)
        items = [
            {
                "id": f"si_{secrets.token_hex(8)}",
                "object": "subscription_item",
                "price": line["price"],
                "quantity": line["quantity"],
                "current_period_start": now,
                "current_period_end": until,
            }
            for line in session["line_items"]["data"]
        ]
        subscription = self._new(
            "sub_",
            "subscription",
            status="trialing" if trial_days else "active",
            customer=session["customer"],
            metadata=data.get("metadata", {}),
            items={"object": "list", "data": items, "has_more": False},
        )
        session["subscription"] = subscription["id"]
        session["payment_status"] = "no_payment_required" if trial_days else "paid"
        self._tell("customer.subscription.created", subscription)
        if not trial_days:
            self._invoice(subscription, paid=True)

    def _invoice(self, subscription: Thing, *, paid: bool | None, lines: Sequence[Thing] = ()) -> None:
        item = subscription["items"]["data"][0]
        reason = "subscription_cycle" if "latest_invoice" in subscription else "subscription_create"
        invoice = self._new(
            "in_",
            "invoice",
            status="draft" if paid is None else "open",
            billing_reason="subscription_update" if lines else reason,
            customer=subscription["customer"],
            subscription=subscription["id"],
            amount_due=max(sum(each["amount"] for each in lines or [whole(item)]), 0),
            amount_paid=0,
            currency=item["price"]["currency"],
            period_start=item["current_period_start"],
            period_end=item["current_period_end"],
            parent={
                "type": "subscription_details",
                "subscription_details": {"subscription": subscription["id"], "metadata": subscription["metadata"]},
            },
            lines={"object": "list", "data": list(lines) or [whole(item)], "has_more": False},
        )
        subscription["latest_invoice"] = invoice["id"]
        if paid:
            self._paid(invoice)
        self._tell({None: "invoice.created", True: "invoice.paid", False: "invoice.payment_failed"}[paid], invoice)

    def _paid(self, invoice: Thing) -> None:
        invoice |= {"status": "paid", "amount_paid": invoice["amount_due"]}
        if invoice["amount_due"] == 0:
            return
        payment = self._charge(invoice["customer"], invoice["amount_due"], invoice["currency"])
        self._new(
            "inpay_",
            "invoice_payment",
            invoice=invoice["id"],
            status="paid",
            payment_intent=payment["id"],
            payment={"type": "payment_intent", "payment_intent": payment["id"]},
        )
        self._tell("payment_intent.succeeded", payment)

    def _tell(self, kind: str, thing: Thing) -> None:
        """An event with the object as it is now."""
        self.events.append(
            {
                "id": f"evt_{secrets.token_hex(12)}",
                "object": "event",
                "type": kind,
                "created": int(time.time()),
                "livemode": False,
                "data": {"object": public(thing)},
            }
        )


def public(thing: Thing, expand: Sequence[str] = ()) -> Thing:
    """A copy as Stripe shows it: lines only to who asks for them, nothing of what is ours."""
    hidden = {"later"} if "line_items" in expand else {"later", "line_items"}
    if thing["object"] == "invoice":
        hidden.add("subscription")  # it is found by that, and shows it as its parent
    shown = copy.deepcopy({name: value for name, value in thing.items() if name not in hidden})
    if thing["object"] == "invoice":
        shown["lines"] = first_lines(shown["lines"])
    return shown
