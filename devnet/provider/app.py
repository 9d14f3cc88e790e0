"""The provider's routes: chat completions, models, and what tests look at and turn (`/_control/…`)."""

import hmac
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from devnet.provider.answer import Answer, composed, room_for
from devnet.provider.chat_request import ChatRequest, decoded
from devnet.provider.delivery import Delivery
from devnet.provider.encode import CREATED
from devnet.provider.errors import ProviderError
from devnet.provider.exchange import Exchange
from devnet.provider.ledger import End, Entry, Ledger
from devnet.provider.options import ProviderOptions, changed, tuned
from devnet.provider.prompt import PromptCache, measured

BODY_SIZE_MAX = 16 * 1024 * 1024
LOG_SHOWN = 100


class Provider:
    """One server's options of the moment, ledger and prompt cache; itself the chat route's ASGI app."""

    def __init__(self, options: ProviderOptions) -> None:
        self.options = options
        self.ledger = Ledger(options.log_size_max)
        self.cache = PromptCache()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/chat/completions`."""
        exchange = Exchange(scope, receive, send)
        entry = self.ledger.opened(exchange.headers)
        end: End = "failed"
        try:
            end = await self._chat(exchange, entry)
        finally:
            exchange.close()
            self.ledger.closed(entry, end)

    async def _chat(self, exchange: Exchange, entry: Entry) -> End:
        body = await exchange.body(BODY_SIZE_MAX)
        if body is None:
            return "client_cancelled"
        options = self.options
        try:
            self.authorize(exchange.headers)
            request = decoded(body)
            self.known(request.model)
            entry.model = request.model
            options = tuned(options, exchange.headers, request.last_user_text())
            answer = self._answer(request, options)
        except ProviderError as refused:
            return await Delivery(exchange, self.ledger, entry, options).refuse(refused)
        entry.fail = options.fail
        entry.completion_id = answer.id
        self.ledger.counts.prompt_tokens += answer.usage.prompt_tokens
        if request.stream:
            self.ledger.streaming(entry)
        asked = request.stream_options is not None and bool(request.stream_options.include_usage)
        delivery = Delivery(exchange, self.ledger, entry, options)
        return await delivery.answer(answer, stream=bool(request.stream), usage_asked=asked)

    def _answer(self, request: ChatRequest, options: ProviderOptions) -> Answer:
        prompt = measured(request)
        room = room_for(request, prompt.tokens, options.context_tokens_max)
        cached = options.cached_tokens
        if cached is None:
            cached = self.cache.cached(prompt, options.cache_min_tokens)
        return composed(request, prompt, options, room=room, cached_tokens=min(cached, prompt.tokens))

    def authorize(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise 401 `invalid_api_key` unless the key is the one that is asked for, if one is."""
        if not self.options.api_key:
            return
        given = next((value for key, value in headers if key == b"authorization"), b"")
        if not hmac.compare_digest(given, b"Bearer " + self.options.api_key.encode()):
            raise ProviderError(401, "invalid_api_key", "Incorrect API key provided.")

    def known(self, model: str) -> None:
        """Raise 404 `model_not_found` unless the model is on the list."""
        if model not in self.options.models:
            message = f"The model '{model}' does not exist or you do not have access to it."
            raise ProviderError(404, "model_not_found", message, "model")

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        self.authorize(request.headers.raw)
        return _json({"object": "list", "data": [_model(name) for name in self.options.models]})

    async def get_model(self, request: Request) -> Response:
        """`GET /v1/models/{id}`."""
        self.authorize(request.headers.raw)
        self.known(request.path_params["id"])
        return _json(_model(request.path_params["id"]))

    async def get_requests(self, request: Request) -> Response:
        """`GET /_control/requests?limit=N`: counts, and the last N requests (100 unless told)."""
        limit = request.query_params.get("limit", str(LOG_SHOWN))
        return _json(self.ledger.view(int(limit) if limit.isdecimal() else LOG_SHOWN))

    async def reset_requests(self, _request: Request) -> Response:
        """`DELETE /_control/requests`: set the counts to what is open now."""
        self.ledger.reset()
        return _json(self.ledger.view(0))

    async def get_options(self, _request: Request) -> Response:
        """`GET /_control/options`."""
        options = msgspec.structs.asdict(self.options)
        return _json({**options, "api_key": "set" if self.options.api_key else ""})

    async def change_options(self, request: Request) -> Response:
        """`POST /_control/options` with a JSON object: it holds for requests that arrive from now on."""
        try:
            changes = msgspec.json.decode(await request.body(), type=dict[str, Any])
        except msgspec.DecodeError as broken:
            raise ProviderError(400, None, f"Expected a JSON object of options: {broken}") from broken
        self.options = changed(self.options, changes)
        return await self.get_options(request)


def create_app(options: ProviderOptions | Provider | None = None) -> Starlette:
    """The provider as an ASGI app. Resetting connections needs the server of `server.running`."""
    provider = options if isinstance(options, Provider) else Provider(options or ProviderOptions())
    control = "/_control/requests"
    return Starlette(
        routes=[
            Route("/v1/chat/completions", provider, methods=["POST"], name="chat"),
            Route("/v1/models", provider.list_models),
            Route("/v1/models/{id:path}", provider.get_model),
            Route(control, provider.get_requests),
            Route(control, provider.reset_requests, methods=["DELETE"]),
            Route("/_control/options", provider.get_options),
            Route("/_control/options", provider.change_options, methods=["POST"]),
        ],
        exception_handlers={ProviderError: _refused, HTTPException: _not_routed},
    )


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "form-state"}


async def _refused(_request: Request, error: Exception) -> Response:
    refused = error if isinstance(error, ProviderError) else ProviderError(500, None, "The server had an error.")
    return Response(refused.body(), refused.status, media_type="application/json")


async def _not_routed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return await _refused(request, ProviderError(status, None, f"Invalid URL ({request.method} {request.url.path})"))
