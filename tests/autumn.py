"""Autumn's API on loopback, for the calls that Form-State makes: written for the tests, after the official SDK's types.

Usage is counted by idempotency key, as Autumn does it: a key is kept when its call was counted, and a repeat is 409.
"""

import asyncio
import base64
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tests.loopback import Answer, Request, serving

SECRET_KEY = "am_sk_test_0123456789abcdef"
Mood = str
"""`ok`; `queued`: 202, counted; `lost`: counted, no answer; `hang`: counted, no answer ever; `500`: not counted."""


class Tracked(Struct, frozen=True, kw_only=True):
    """One call for usage, counted or not."""

    key: str
    customer: str
    feature: str
    value: float


class AutumnServer:
    """Customers, plans and counts. `mood` says what becomes of the next call for usage, `away` of all calls."""

    def __init__(self) -> None:
        self.url = ""
        self.away = False
        self.mood: Callable[[Tracked], Mood] = lambda _tracked: "ok"
        self.calls: list[Tracked] = []
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.counted: Counter[tuple[str, str]] = Counter()
        """By customer and feature."""
        self.customers: dict[str, list[dict[str, Any]]] = {}
        """The subscriptions of each."""
        self.plans = ["pro", "team"]
        self.features: dict[str, list[str]] = {}
        """Those of a plan."""
        self.attached: list[dict[str, Any]] = []
        """What pages were opened for."""
        self.invoices: dict[str, list[dict[str, Any]]] = {}
        """Of each customer, the oldest first."""
        self.seats: dict[str, int] = {}
        """What each customer has paid for."""
        self.ended: list[tuple[str, str]] = []
        """Subscriptions that were canceled at once, by customer."""
        self.endings = 0
        self.down = False
        """All is answered with 503."""
        self.known_at_once = True
        """Whether usage of an unknown customer is taken."""
        self.nothing_to_pay = False

    async def handle(self, request: Request) -> Answer:
        """One call."""
        self.asked[request.path] += 1
        if self.away:
            await asyncio.Event().wait()
        if self.down:
            return _said(503, {"message": "away", "code": "internal_error"})
        if request.headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return _said(401, {"message": "no such key", "code": "invalid_secret_key"})
        body = json.loads(request.body or b"{}")
        if request.path == "/v1/balances.track":
            return await self._track(request, body)
        return self._billing(request.path, body) or self._customers(request.path, body)

    def _customers(self, path: str, body: dict[str, Any]) -> Answer:
        match path:
            case "/v1/customers.get_or_create":
                self.customers.setdefault(body["customer_id"], [])
                return _said(200, self._customer(body["customer_id"]))
            case "/v1/customers.get" if body["customer_id"] in self.customers:
                return _said(200, self._customer(body["customer_id"]))
            case "/v1/balances.check":
                allowed = bool(self.customers.get(body["customer_id"]))
                said = {"allowed": allowed, "customer_id": body["customer_id"], "balance": None, "flag": None}
                return _said(200, said)
            case _:
                return _said(404, {"message": "not found", "code": "customer_not_found"})

    def _billing(self, path: str, body: dict[str, Any]) -> Answer | None:
        match path:
            case "/v1/invoices.list":
                own = self.invoices.get(body["customer_id"], []) if "customer_id" in body else self._all_invoices()
                return _said(200, {"list": own[::-1], "next_cursor": None})
            case "/v1/billing.update" if body["customer_id"] in self.customers:
                return self._update(body)
            case "/v1/billing.attach" if self.nothing_to_pay:
                return _said(200, {"customer_id": body["customer_id"], "payment_url": None})
            case "/v1/billing.attach":
                self.attached.append(body)
                url = f"https://checkout.example.com/{body['customer_id']}/{body['plan_id']}"
                return _said(200, {"customer_id": body["customer_id"], "payment_url": url})
            case "/v1/billing.open_customer_portal" if body["customer_id"] in self.customers:
                url = f"https://portal.example.com/{body['customer_id']}"
                return _said(200, {"customer_id": body["customer_id"], "url": url})
            case "/v1/plans.list":
                return _said(200, {"list": [_plan(each, self.features.get(each, [])) for each in self.plans]})
            case _:
                return None

    def pay(self, customer: str, *plans: str, dollars: float = 100.0, **fields: Any) -> dict[str, Any]:
        """A paid invoice of a customer."""
        own = self.invoices.setdefault(customer, [])
        own.append(_invoice(customer, len(own), plans, dollars) | fields)
        return own[-1]

    def _all_invoices(self) -> list[dict[str, Any]]:
        return [each for own in self.invoices.values() for each in own]

    def webhook(self, secret: str, body: bytes, *, message_id: str, at_s: int) -> dict[str, str]:
        """The headers of a webhook that Svix delivers."""
        signed = b"%b.%d.%b" % (message_id.encode(), at_s, body)
        digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return {"svix-id": message_id, "svix-timestamp": str(at_s), "svix-signature": signature}

    def _update(self, body: dict[str, Any]) -> Answer:
        """Ends a subscription at once, without sending anything back."""
        assert (body["cancel_action"], body["proration_behavior"]) == ("cancel_immediately", "none")
        self.endings += 1
        own = self.customers[body["customer_id"]]
        left = [each for each in own if each["id"] != body["subscription_id"]]
        if len(left) == len(own):
            return _said(404, {"message": "no such subscription", "code": "cus_product_not_found"})
        self.customers[body["customer_id"]] = left
        self.ended.append((body["customer_id"], body["subscription_id"]))
        return _said(200, {"customer_id": body["customer_id"], "payment_url": None})

    async def _track(self, request: Request, body: dict[str, Any]) -> Answer:
        tracked = Tracked(
            key=request.headers["idempotency-key"],
            customer=body["customer_id"],
            feature=body["feature_id"],
            value=body["value"],
        )
        self.calls.append(tracked)
        if not self.known_at_once and tracked.customer not in self.customers:
            return _said(404, {"message": "no such customer", "code": "customer_not_found"})
        if tracked.key in self.keys:
            return _said(409, {"message": "seen before", "code": "duplicate_idempotency_key"})
        mood = self.mood(tracked)
        if mood.isdigit():
            return _said(int(mood), {"message": "no", "code": "internal_error"})
        self.keys.add(tracked.key)
        self.counted[tracked.customer, tracked.feature] += int(tracked.value)
        if mood == "hang":
            await asyncio.Event().wait()
        said = {"customer_id": tracked.customer, "value": tracked.value, "balance": None}
        return Answer(silent=True) if mood == "lost" else _said(202 if mood == "queued" else 200, said)

    def _customer(self, customer: str) -> dict[str, Any]:
        empty = ("name", "email", "fingerprint", "stripe_id")
        return dict.fromkeys(empty) | {
            "id": customer,
            "created_at": 1_700_000_000_000,
            "env": "sandbox",
            "metadata": {},
            "send_email_receipts": False,
            "billing_controls": {},
            "subscriptions": self.customers[customer],
            "purchases": [],
            "licenses": [],
            "balances": {"seats": _balance(self.seats[customer])} if customer in self.seats else {},
            "flags": {},
        }


def subscription(plan: str, **fields: Any) -> dict[str, Any]:
    """A customer's subscription as Autumn shows it; times in milliseconds."""
    return {
        "id": f"sub_{plan}",
        "plan_id": plan,
        "auto_enable": False,
        "add_on": False,
        "status": "active",
        "past_due": False,
        "canceled_at": None,
        "expires_at": None,
        "trial_ends_at": None,
        "started_at": 1_800_000_000_000,
        "current_period_start": 1_800_000_000_000,
        "current_period_end": 1_802_592_000_000,
        "quantity": 1,
    } | fields


def _balance(granted: int) -> dict[str, Any]:
    return {
        "feature_id": "seats",
        "granted": granted,
        "remaining": granted,
        "usage": 0,
        "unlimited": False,
        "overage_allowed": False,
        "max_purchase": None,
        "next_reset_at": None,
    }


def _invoice(customer: str, number: int, plans: Sequence[str], dollars: float) -> dict[str, Any]:
    return {
        "id": f"inv_{customer}_{number}",
        "stripe_id": f"in_{customer}_{number}",
        "customer_id": customer,
        "entity_id": None,
        "plan_ids": list(plans),
        "status": "paid",
        "total": dollars,
        "amount_paid": dollars,
        "refunded_amount": 0,
        "currency": "usd",
        "created_at": int(time.time()) * 1_000,
        "items": [],
    }


def _plan(plan: str, features: Sequence[str]) -> dict[str, Any]:
    return {
        "id": plan,
        "name": plan,
        "description": None,
        "group": None,
        "version": 1,
        "add_on": False,
        "auto_enable": False,
        "price": None,
        "items": [_item(each) for each in features],
        "created_at": 1_700_000_000_000,
        "env": "sandbox",
        "archived": False,
        "base_variant_id": None,
        "config": {"ignore_past_due": False},
        "metadata": {},
    }


def _item(feature: str) -> dict[str, Any]:
    return {"feature_id": feature, "included": 0, "unlimited": False, "reset": None, "price": None}


def _said(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode())


@asynccontextmanager
async def running_autumn() -> AsyncIterator[AutumnServer]:
    """A server for the length of the block."""
    server = AutumnServer()
    async with serving(server.handle) as url:
        server.url = url
        yield server
