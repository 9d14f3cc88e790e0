"""Autumn's API on loopback, for the calls that Form-State makes: written for the tests, after the official SDK's types.

Usage is counted by idempotency key, as Autumn does it: a key is kept when its call was counted, and a repeat is 409.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
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
        self.known_at_once = True
        """Whether usage of an unknown customer is taken."""
        self.nothing_to_pay = False

    async def handle(self, request: Request) -> Answer:
        """One call."""
        self.asked[request.path] += 1
        if self.away:
            await asyncio.Event().wait()
        if request.headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return _said(401, {"message": "no such key", "code": "invalid_secret_key"})
        body = json.loads(request.body or b"{}")
        match request.path:
            case "/v1/balances.track":
                return await self._track(request, body)
            case "/v1/customers.get_or_create":
                self.customers.setdefault(body["customer_id"], [])
                return _said(200, self._customer(body["customer_id"]))
            case "/v1/customers.get" if body["customer_id"] in self.customers:
                return _said(200, self._customer(body["customer_id"]))
            case "/v1/billing.attach" if self.nothing_to_pay:
                return _said(200, {"customer_id": body["customer_id"], "payment_url": None})
            case "/v1/billing.attach":
                url = f"https://checkout.example.com/{body['customer_id']}/{body['plan_id']}"
                return _said(200, {"customer_id": body["customer_id"], "payment_url": url})
            case "/v1/billing.open_customer_portal" if body["customer_id"] in self.customers:
                url = f"https://portal.example.com/{body['customer_id']}"
                return _said(200, {"customer_id": body["customer_id"], "url": url})
            case "/v1/balances.check":
                allowed = bool(self.customers.get(body["customer_id"]))
                said = {"allowed": allowed, "customer_id": body["customer_id"], "balance": None, "flag": None}
                return _said(200, said)
            case "/v1/plans.list":
                return _said(200, {"list": [_plan(each) for each in self.plans]})
            case _:
                return _said(404, {"message": "not found", "code": "customer_not_found"})

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
            "balances": {},
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


def _plan(plan: str) -> dict[str, Any]:
    return {
        "id": plan,
        "name": plan,
        "description": None,
        "group": None,
        "version": 1,
        "add_on": False,
        "auto_enable": False,
        "price": None,
        "items": [],
        "created_at": 1_700_000_000_000,
        "env": "sandbox",
        "archived": False,
        "base_variant_id": None,
        "config": {"ignore_past_due": False},
        "metadata": {},
    }


def _said(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode())


@asynccontextmanager
async def running_autumn() -> AsyncIterator[AutumnServer]:
    """A server for the length of the block."""
    server = AutumnServer()
    async with serving(server.handle) as url:
        server.url = url
        yield server
