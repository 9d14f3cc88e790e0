"""What alone runs a request: authenticate → limit → decode → authorize → act → encode, and every error in one shape.

Request ids, routing and access lines are the application's (`api.app`); everything else of a route happens here.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs
from starlette.responses import Response

from api.answer import Sender
from api.call import Call, Reply
from api.caller import Caller
from api.command_log.bus import BusError, BusOverloaded, BusUncertain
from api.command_log.commands import Accepted
from api.decode import (
    body_decoder,
    check_encoding,
    check_media,
    check_path,
    check_single,
    idempotency_key,
    prefers_async,
    query_decoder,
)
from api.errors import ApiError, refused
from api.process import Process
from api.quotas.guard import require_feature
from api.quotas.offers import explain, seller_to
from api.request_body import Gone, drain, read_body
from api.route import Access, Route, needs_fresh
from api.sealing import Erased
from domain.errors import DomainError
from eventstore.errors import StoreError
from telemetry import logs

USER_AGENT_MAX = 256
_CURABLE = frozenset({"payment_required", "too_many"})
"""Refusals that another plan, more credits or time may cure."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Exchange(Struct, kw_only=True):
    """One request on its way through: what came, and who turned out to ask."""

    scope: Any
    url_path: str
    query_string: bytes
    headers: Mapping[bytes, bytes]
    address: str
    request_id: str
    receive: Any
    sender: Sender
    caller: Caller | None = None
    body_read: bool = False
    respond_async: bool = False


class Endpoint:
    """One route with its decoders, built once."""

    def __init__(self, route: Route, process: Process) -> None:
        self.route = route
        self._process = process
        self._decode_body = body_decoder(route)
        self._decode_query = query_decoder(route)
        self._takes_body = route.method in _WITH_BODY and (route.body is not None or route.raw)
        self._body_optional = route.method == "DELETE" or route.body_optional
        self._status = route.status
        self._billable = "X-Subscription-Status" in route.response_headers

    async def run(self, exchange: Exchange, path: Mapping[str, str]) -> None:
        """Answers the request. Raises only where the answer had begun already; the connection is closed then."""
        sender = exchange.sender
        try:
            await self._run(exchange, path)
        except Accepted as accepted:
            await sender.accepted(accepted, preferred=exchange.respond_async)
        except Gone:
            logs.get().info("client_gone")
        except Exception as error:
            if sender.started:
                logs.get().exception("answer_broken_off")
                raise
            await self._refuse(exchange, _as_api_error(error))

    async def _run(self, exchange: Exchange, path: Mapping[str, str]) -> None:
        route = self.route
        if self._process.services is None and not route.early:
            raise ApiError("starting")
        try:
            if len(exchange.headers) < len(exchange.scope["headers"]):
                check_single(exchange.scope["headers"])
            caller = exchange.caller = await self._authenticate(exchange)
        except ApiError as error:
            await self._limit_refused(exchange, error)
            raise
        if caller.account_id:
            logs.add(account_id=caller.account_id)
        if self._billable and caller.subscription is not None:
            exchange.sender.add((b"x-subscription-status", caller.subscription.status.encode("ascii")))
        await self._limit(exchange, caller)
        call = await self._decode(exchange, caller, path)
        if needs_fresh(route.access, call.body):
            call.caller = exchange.caller = await self._authenticate(exchange, fresh=True)
        _authorize(route.access, call.caller)
        if route.feature is not None:
            require_feature(call.caller.subscription, route.feature)
        result = await route.handler(call)
        if isinstance(result, Struct) and type(result) is not Reply:
            await exchange.sender.struct(self._status, result)
        elif type(result) is Reply:
            await exchange.sender.reply(result)
        else:
            await self._answer_raw(exchange, result)

    async def _authenticate(self, exchange: Exchange, *, fresh: bool = False) -> Caller:
        access = self.route.access
        headers = exchange.headers
        agent = _agent(headers)
        authorization, key = headers.get(b"authorization"), headers.get(b"x-api-key")
        if access.public or (access.optional and authorization is None and key is None):
            return Caller(kind="anonymous", address=exchange.address, user_agent=agent)
        services = self._process.services
        if services is None:
            raise ApiError("starting")
        organization = headers.get(b"x-organization")
        return await services.identities.authenticate(
            None if authorization is None else authorization.decode("latin-1"),
            None if key is None else key.decode("latin-1"),
            address=exchange.address,
            user_agent=agent,
            organization=None if organization is None else organization.decode("latin-1"),
            fresh=fresh,
        )

    async def _limit_refused(self, exchange: Exchange, error: ApiError) -> None:
        """Who may not act as it asks still counts as itself. Who that is, nobody knows: guessing counts by address."""
        services = self._process.services
        if services is None:
            return
        if self.route.unlimited or error.kind == "unavailable":
            exchange.sender.add(*services.rate_limits.address_headers(exchange.address))
        elif error.about is None or error.kind == "unauthenticated":
            await services.rate_limits.admit_address(exchange.sender, exchange.address)
        else:
            exchange.caller = error.about
            await services.rate_limits.admit_caller(exchange.sender, error.about)

    async def _limit(self, exchange: Exchange, caller: Caller) -> None:
        """The caller is known, and nothing of the body has been read."""
        services = self._process.services
        if services is None:
            return
        if self.route.unlimited:
            exchange.sender.add(*services.rate_limits.address_headers(exchange.address))
        elif caller.kind == "anonymous":
            await services.rate_limits.admit_address(exchange.sender, exchange.address)
        elif self.route.paying:
            await services.rate_limits.admit_payer(exchange.sender, caller)
        else:
            await services.rate_limits.admit_caller(exchange.sender, caller, self.route.access.scope)

    async def _decode(self, exchange: Exchange, caller: Caller, path: Mapping[str, str]) -> Call[Any, Any]:
        route, headers = self.route, exchange.headers
        if path:
            check_path(path)
        query = self._decode_query(exchange.query_string)
        key = idempotency_key(headers.get(b"idempotency-key")) if route.write else None
        if route.write and b"prefer" in headers and not (route.shown_once and key is None):
            exchange.respond_async = prefers_async(exchange.scope["headers"])
        raw_body = b""
        if self._takes_body and (not self._body_optional or _sends_body(headers)):
            check_encoding(headers.get(b"content-encoding"))
            if route.body is not None:
                check_media(headers.get(b"content-type"))
            raw_body = await read_body(exchange.receive, headers, route.body_bytes_max)
            exchange.body_read = True
        return Call(
            process=self._process,
            route=route,
            caller=caller,
            request_id=exchange.request_id,
            url_path=exchange.url_path,
            query_string=exchange.query_string,
            headers=headers,
            receive=exchange.receive,
            path=path,
            raw_body=raw_body,
            body=self._decode_body(raw_body),
            query=query,
            idempotency_key=key,
            respond_async=exchange.respond_async,
        )

    async def _answer_raw(self, exchange: Exchange, result: Any) -> None:
        if not (isinstance(result, Response) or callable(result)):
            raise TypeError(f"{self.route.path} answered a {type(result).__name__}")
        await result(exchange.scope, exchange.receive, exchange.sender)

    async def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        waiting = not exchange.body_read and exchange.headers.get(b"content-length", b"0") != b"0"
        if waiting or (not exchange.body_read and b"transfer-encoding" in exchange.headers):
            await drain(exchange.receive)
        caller, services = exchange.caller, self._process.services
        if services is not None and caller is not None and error.kind in _CURABLE:
            now, plan, pricing_url = services.clock(), caller.subscription, services.settings.billing.pricing_url
            seller = seller_to(caller.account_id, plan, services.billing, pricing_url, now)
            explain(error, plan, services.plans, now, seller)
        if caller is None and error.about is not None:
            caller = structs.replace(error.about, address=exchange.address, user_agent=_agent(exchange.headers))
        if caller is not None and services is not None:
            name = f"{self.route.method} {self.route.path}"
            services.rate_limits.refused(caller, error.code)
            if self.route.claim:
                await services.refused_requests.record(caller, error, name)
            else:
                services.refused_requests.note(caller, error, name)
        await exchange.sender.error(error, exchange.request_id)


def _agent(headers: Mapping[bytes, bytes]) -> str:
    """What it calls itself, cut to a bound between characters: UTF-8 where it is that, else bytes as Latin-1."""
    raw = headers.get(b"user-agent", b"")
    try:
        return raw.decode("utf-8")[:USER_AGENT_MAX]
    except UnicodeDecodeError:
        return raw.decode("latin-1")[:USER_AGENT_MAX]


def _sends_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether there is one at all: that of a DELETE may be left out."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _authorize(access: Access, caller: Caller) -> None:
    """403 `missing_scope` and `missing_role` say what is missing; `account_suspended` comes before both.

    `project_bound`: the route is wider than the one project that the credentials see.
    """
    if caller.suspended and not (access.while_suspended or access.optional):
        raise ApiError("account_suspended")
    if access.scope is not None and access.scope not in caller.scopes:
        raise ApiError("missing_scope", f"This needs the scope {access.scope}.", required_scope=access.scope)
    if access.role is not None and caller.role not in {access.role, "admin"}:
        raise ApiError("missing_role", f"This needs the role {access.role}.", required_role=access.role)
    if caller.project_id is not None and not access.project and not (access.of_person and caller.kind == "user"):
        raise ApiError("project_bound")


def _as_api_error(error: Exception) -> ApiError:
    """What an exception means for the client; anything unforeseen is logged whole and shown as `internal_error`."""
    match error:
        case ApiError():
            if error.status >= 500:  # noqa: PLR2004  # our side's, not the client's
                logs.get().warning("request_failed", code=error.code, cause=repr(error.__cause__))
            return error
        case Erased():  # by another request, a moment ago
            return ApiError("user_not_found")
        case DomainError():
            return refused(error.code, error.kind, error.message, error.detail)
        case BusUncertain():
            return ApiError("outcome_unknown")
        case BusOverloaded():
            return ApiError("overloaded", "The workers are too far behind.", headers={"Retry-After": "5"})
        case BusError():
            logs.get().warning("bus_failed", error=repr(error))
            return ApiError("bus_unavailable")
        case StoreError() | OSError():
            logs.get().warning("store_failed", error=repr(error))
            return ApiError("store_unavailable")
        case _:
            logs.get().error("request_crashed", exc_info=error)
            return ApiError("internal_error")
