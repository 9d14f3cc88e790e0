"""The ASGI application: request id, routing, CORS, access lines; `api.endpoint` does the rest of each request."""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from prometheus_client import Counter

from api.answer import Header, Sender
from api.call import Receive, Reply
from api.cors import Cors
from api.endpoint import Endpoint, Exchange
from api.errors import ApiError
from api.ids import request_id
from api.parts import Services
from api.process import Process
from api.route import Route, all_routes
from api.router import Router
from telemetry import logs, metrics

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Lifespan = Callable[[], AbstractAsyncContextManager[None]]

_seconds = metrics.histogram("http_request_seconds", "From request to the end of its answer.", ("route", "method"))
_answers = metrics.counter("http_answers", "Answers by route and status.", ("route", "method", "status"))
_NOWHERE = "(none)"
UNDER_V1 = "There is nothing at this address, but there is with /v1 before it: a base_url ends in /v1."


def create_app(services: Services, routes: Iterable[Route] | None = None) -> "Application":
    """The application over parts that are there already, as devnet and tests have them."""
    process = Process(services.settings, services.mode)
    process.services = services
    return Application(process, routes)


class Application:
    """Routes come from `api.routes` unless others are given. `lifespan` is entered at start and left at the end."""

    def __init__(
        self, process: Process, routes: Iterable[Route] | None = None, *, lifespan: Lifespan | None = None
    ) -> None:
        self.process = process
        self.routes = tuple(all_routes() if routes is None else routes)
        process.routes = self.routes
        endpoints = [Endpoint(route, process) for route in self.routes]
        self._router = Router([(each.route.method, each.route.path, each) for each in endpoints])
        self._cors = Cors(process.settings.cors_origins)
        self._lifespan = lifespan
        self._measures: dict[tuple[str, str, int], tuple[metrics.Distribution, Counter]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification, version 3."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._lifespan is None:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            try:
                async with self._lifespan():
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
            except Exception as error:
                logs.get().exception("process_failed")
                await send({"type": "lifespan.startup.failed", "message": repr(error)})
                raise
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        client = scope.get("client")
        exchange = Exchange(
            scope=scope,
            url_path=scope["path"],
            query_string=scope.get("query_string", b""),
            headers=headers,
            address=client[0] if client else "",
            request_id=request_id(headers.get(b"x-request-id")),
            receive=receive,
            sender=None,  # type: ignore[arg-type]  # set below, it needs the id
        )
        exchange.sender = Sender(send, exchange.request_id, self._cors.headers(headers))
        # The server runs each request in a task of its own: what is bound here ends with it.
        logs.begin(request_id=exchange.request_id)
        endpoint: Endpoint | None = None
        try:
            endpoint = await self._route(exchange, scope["method"])
        finally:
            self._finished(exchange, scope["method"], endpoint, time.perf_counter() - begun)

    async def _route(self, exchange: Exchange, method: str) -> Endpoint | None:
        match = self._router.find(exchange.url_path)
        if match is None:
            under_v1 = self._router.find("/v1" + exchange.url_path) is not None
            await self._refuse(exchange, ApiError("not_found", UNDER_V1 if under_v1 else None))
            return None
        found = match.of("GET" if method == "HEAD" else method)
        if found is not None:
            endpoint, path = found
            await endpoint.run(exchange, path)
            return endpoint
        methods = match.methods
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        if method == "OPTIONS":
            # Browsers ask before requests of people who have limits of their own: it counts for nothing.
            exchange.sender.add(*self.address_headers(exchange.address))
            headers = {"Allow": allowed, **self._cors.preflight(exchange.headers, allowed)}
            await exchange.sender.reply(Reply(status=204, headers=headers))
        else:
            await self._refuse(exchange, ApiError("method_not_allowed", headers={"Allow": allowed}))
        return None

    def address_headers(self, address: str) -> list[Header]:
        """How an address stands, for what counts for nothing or never became a request; nothing while starting."""
        services = self.process.services
        return [] if services is None else services.rate_limits.address_headers(address)

    async def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        """What no route takes counts by address, as everything that comes without a look at its credentials."""
        if self.process.services is not None:
            try:
                await self.process.services.rate_limits.admit_address(exchange.sender, exchange.address)
            except ApiError as limited:
                error = limited
        await exchange.sender.error(error, exchange.request_id)

    def _finished(self, exchange: Exchange, method: str, endpoint: Endpoint | None, took_s: float) -> None:
        """Counts, and writes the access line: the route's template and never the address, which clients make up."""
        status = exchange.sender.status
        route, known = (_NOWHERE, "-") if endpoint is None else (endpoint.route.path, method)
        self._measure(route, known, status, took_s)
        lines = logs.access_lines()
        if lines is None:
            return
        caller = exchange.caller
        fields = {
            "method": known,
            "route": route,
            "status": status,
            "duration_ms": round(took_s * 1000, 3),
            "user_id": None if caller is None else caller.user_id or None,
            "key_id": None if caller is None else caller.key_id,
        }
        lines.write("request_finished", exchange.request_id, fields)

    def _measure(self, route: str, method: str, status: int, took_s: float) -> None:
        """The children of the metrics are kept: looking them up costs more than counting."""
        kept = self._measures.get((route, method, status))
        if kept is None:
            kept = (_seconds.labels(route, method), _answers.labels(route, method, str(status)))
            self._measures[route, method, status] = kept
        seconds, answers = kept
        seconds.observe(took_s)
        answers.inc()
