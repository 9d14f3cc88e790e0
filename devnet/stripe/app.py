"""The routes of the payment provider: Stripe's, as far as they are needed, and those by which it is told what to do."""

import asyncio
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from devnet.stripe.form import parse
from devnet.stripe.shop import DevStripe, Missing, Thing, public

BODY_SIZE_MAX = 256 * 1024
HANG_S = 60
_KINDS = {
    "checkout/sessions": "checkout.session",
    "payment_intents": "payment_intent",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "invoice_payments": "invoice_payment",
    "disputes": "dispute",
    "customers": "customer",
}
"""What can be retrieved and listed, by path."""
_CONTROLS = (
    "pay",
    "settle",
    "expire",
    "refund",
    "fail_refund",
    "dispute",
    "close_dispute",
    "renew",
    "change",
    "cancel",
)


def create_app(shop: DevStripe) -> Starlette:
    """The provider as an ASGI app; `shop.url` must be set before the first request."""
    routes = _Routes(shop)
    return Starlette(
        routes=[
            Route("/v1/{path:path}", routes.api, methods=["GET", "POST", "DELETE"]),
            Route("/pay/{id}", routes.page),
            Route("/portal/{id}", routes.portal),
            Route("/_control/{what}", routes.control, methods=["POST"]),
        ]
    )


class _Routes:
    def __init__(self, shop: DevStripe) -> None:
        self._shop = shop
        self._repeats: dict[str, tuple[str, Response]] = {}

    async def api(self, request: Request) -> Response:
        """One request of Stripe's API, or the outage that was asked for."""
        shop, path = self._shop, request.path_params["path"]
        shop.asked.append(f"{request.method} {path}")
        if shop.answers_left is not None:
            shop.answers_left -= 1
        match shop.outage:
            case "none" if shop.answers_left is not None and shop.answers_left < 0:
                return Response(b"upstream", status_code=503)
            case "down":
                return Response(b"upstream", status_code=503)
            case "hang":
                await asyncio.sleep(HANG_S)
                return Response(status_code=503)
            case "garbage":
                return Response(b"<html>", status_code=200)
            case "unauthorized":
                return _error(401, "invalid_request_error", None, "Invalid API Key provided")
            case "none":
                pass
        if request.headers.get("authorization") != f"Bearer {shop.secret_key}":
            return _error(401, "invalid_request_error", None, "Invalid API Key provided")
        body = (await request.body())[:BODY_SIZE_MAX].decode()
        key = request.headers.get("idempotency-key")
        if request.method == "POST" and key in self._repeats:
            before, answer = self._repeats[key]
            if before != f"{path}?{body}":
                return _error(400, "idempotency_error", None, "Keys for idempotent requests can only be used again")
            return answer
        answer = self._answer(request, path, body)
        if request.method == "POST" and key is not None and answer.status_code == 200:  # noqa: PLR2004  # OK
            self._repeats[key] = (f"{path}?{body}", answer)
        return answer

    def _answer(self, request: Request, path: str, body: str) -> Response:
        try:
            if request.method == "DELETE":
                subscription_id = path.removeprefix("subscriptions/")
                self._shop.cancel(subscription_id)
                return _json(self._show(path, {}))
            if request.method == "POST":
                return _json(public(self._make(path, parse(body))))
            return _json(self._show(path, parse(request.url.query)))
        except Missing as missing:
            return _error(404, "invalid_request_error", missing.param, str(missing), code="resource_missing")
        except (KeyError, ValueError, TypeError) as error:
            code = "charge_already_refunded" if "already_refunded" in str(error) else None
            return _error(400, "invalid_request_error", None, f"cannot be done: {error!r}", code=code)

    def _make(self, path: str, params: Thing) -> Thing:
        shop = self._shop
        match path.split("/"):
            case ["customers"]:
                return shop.customer(params)
            case ["checkout", "sessions"]:
                return shop.session(params)
            case ["checkout", "sessions", session_id, "expire"]:
                return shop.expire(session_id)
            case ["billing_portal", "sessions"]:
                return shop.portal(params)
            case ["subscriptions", subscription_id]:
                return shop.mark(subscription_id, params)
            case ["refunds"]:
                return shop.refund(params["payment_intent"])
            case _:
                raise KeyError(path)

    def _show(self, path: str, params: Thing) -> Thing:
        shop, expand = self._shop, params.get("expand", [])
        if path in _KINDS:
            params |= {"payment_intent": params["payment"]["payment_intent"]} if "payment" in params else {}
            names = ("customer", "payment_intent", "subscription", "invoice", "status")
            given = {name: params[name] for name in names if params.get(name, "all") != "all"}
            found = shop.all(_KINDS[path], **given)
            if "starting_after" in params:
                found = found[[each["id"] for each in found].index(params["starting_after"]) + 1 :]
            inner = [each.removeprefix("data.") for each in expand]
            limit = int(params.get("limit", 10))
            data = [self._expanded(each, inner) for each in found[:limit]]
            return {"object": "list", "data": data, "has_more": len(found) > limit, "url": f"/v1/{path}"}
        if path.endswith("/lines"):
            invoice_id = path.split("/")[1]
            return {**shop.find(invoice_id, "invoice")["lines"], "url": f"/v1/{path}"}
        folder, _, object_id = path.rpartition("/")
        return self._expanded(shop.find(object_id, _KINDS[folder]), expand)

    def _expanded(self, thing: Thing, expand: list[str]) -> Thing:
        shown = public(thing, expand)
        for name, kind in (("latest_charge", "charge"), ("latest_invoice", "invoice")):
            if name in expand and shown.get(name):
                shown[name] = public(self._shop.find(shown[name], kind))
        return shown

    async def page(self, request: Request) -> Response:
        """Whoever opens the page has paid, and goes on to where the buyer is expected."""
        try:
            session = self._shop.pay(request.path_params["id"])
        except Missing:
            return Response(b"There is no such checkout.\n", status_code=404)
        return RedirectResponse(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]), 303)

    async def portal(self, request: Request) -> Response:
        """The customer's subscriptions, as JSON; `/_control/cancel` ends one."""
        try:
            session = self._shop.find(request.path_params["id"], "billing_portal.session")
        except Missing:
            return Response(b"There is no such portal.\n", status_code=404)
        subscriptions = self._shop.all("subscription", customer=session["customer"])
        return _json({"return_url": session["return_url"], "subscriptions": [public(each) for each in subscriptions]})

    async def control(self, request: Request) -> Response:
        """Does what the path says, with the body's members as arguments; `outage` switches failures on and off."""
        what, given = (
            request.path_params["what"],
            msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any]),
        )
        if what == "outage":
            self._shop.outage = given["outage"]
            return _json({"outage": self._shop.outage})
        if what not in _CONTROLS:
            return Response(f"There is: {', '.join(_CONTROLS)}, outage.\n".encode(), status_code=404)
        try:
            made = getattr(self._shop, what)(**given)
        except (Missing, TypeError, KeyError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"done": what} if made is None else public(made))


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _error(status: int, kind: str, param: str | None, message: str, *, code: str | None = None) -> Response:
    return _json({"error": {"type": kind, "code": code, "param": param, "message": message}}, status)
