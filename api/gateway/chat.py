"""One chat completion from admission to settlement: hold, provider, settle; and the answers that are not streamed."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from api.errors import ApiError, declare
from api.gateway.client_watch import ClientGone, ClientWatch
from api.gateway.estimate import Estimate, affordable_tokens, estimate
from api.gateway.hold import Hold, Placed, Settlement
from api.gateway.request import ChatRequest
from api.gateway.upstream import Answering, open_upstream
from api.gateway.usage import estimated, usage_of
from domain.account.holds import PlaceHold
from domain.account.usage import Price, Usage
from domain.instant import SECOND
from domain.money import format_credits

if TYPE_CHECKING:
    from api.call import Call
    from api.llm_models import LlmModel

HOLD_MARGIN_S = 60
"""A hold outlives the provider's time limit by this much."""
TEST_PRICE = Price(input=0, cached_input=0, output=0, version="test")
"""Keys of mode `test` never spend."""

declare(
    "model_not_found",
    "not_found",
    "The model does not exist, or the key may not use it.",
    "GET /v1/models lists the models that the key may use.",
)
declare(
    "client_closed",
    "too_slow",
    "The client closed the connection.",
    "Nothing was charged; wait longer for the answer, or ask for a stream.",
)
declare(
    "model_unpriced",
    "forbidden",
    "The model has no price and cannot be used.",
    "Ask the operator to state its price in the models file.",
)


def find_model(call: "Call[Any, Any]", name: str) -> "LlmModel":
    """The model of this name, if the caller may use it: keys of mode `test` reach built-in models only. 404 else."""
    model = call.services.llm_models.get(name)
    if model is None or (call.caller.mode == "test" and not model.built_in):
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise ApiError("model_not_found", message, param="model")
    return model


def price_for(call: "Call[Any, Any]", model: "LlmModel") -> Price:
    """What the caller pays; 403 `model_unpriced` where nobody has said what that is."""
    if call.caller.mode == "test":
        return TEST_PRICE
    if model.price is None:
        raise ApiError("model_unpriced", f"The model '{model.id}' has no price and cannot be used.", param="model")
    return model.price


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer as it goes to the client, byte for byte what the provider sent."""

    body: bytes
    media_type: str
    usage: Usage


class ChatJob:
    """One attempt at one chat completion. `generation` names the command of its hold, `None` the request's own."""

    def __init__(self, call: "Call[Any, Any]", request: ChatRequest, *, generation: str | None = None) -> None:
        services = call.services
        self.call = call
        self.request = request
        self.model = find_model(call, request.model)
        self.keyed = call.idempotency_key is not None
        self._metering = services.metering
        price = price_for(call, self.model)
        self.wanted: Estimate = estimate(request, price, context=self.model.context, max_output=self.model.max_output)
        account_id = call.caller.account_id
        draft = call.draft(f"account:{account_id}", command_id=generation)
        expires_at = services.clock() + int((self.model.timeout_s + HOLD_MARGIN_S) * SECOND)
        place = PlaceHold(
            hold_id=draft.new_id("hold"),
            amount=self.wanted.amount,
            amount_min=self.wanted.amount_min,
            model=self.model.id,
            price=price,
            expires_at=expires_at,
            key_id=call.caller.key_id,
        )
        self.hold = Hold(services.metering, draft, place)

    # Hold and provider.

    async def begin(self) -> Answering:
        """A hold that is granted and a provider that answers. Whatever goes wrong leaves no hold behind.

        With ample credits the provider is called while the hold is being decided.
        """
        self._metering.admit()
        if await self._metering.has_ample(self.call.caller.account_id, self.wanted.amount):
            return await self._begin_at_once()
        return await self.begin_with(await self.hold.place())

    async def begin_with(self, placed: Placed) -> Answering:
        """The provider's answer, for a hold that is granted already."""
        try:
            return await self._open(self._cap(placed))
        except ApiError as error:
            await self.hold.release(error.code)
            raise
        except BaseException:
            self.hold.drop("client_gone")
            raise

    async def _begin_at_once(self) -> Answering:
        opening = asyncio.create_task(self._open(None))
        try:
            placed = await self.hold.place()
        except BaseException:
            await self._abandon(opening)
            raise
        if self._cap(placed) is not None:
            await self._abandon(opening)
            return await self.begin_with(placed)
        try:
            return await opening
        except ApiError as error:
            await self.hold.release(error.code)
            raise
        except BaseException:
            self.hold.drop("client_gone")
            await self._abandon(opening)
            raise

    def _cap(self, placed: Placed) -> int | None:
        """The `max_tokens` that the provider is told, if the hold is for less than the estimate."""
        if placed.granted >= self.wanted.amount:
            return None
        return affordable_tokens(self.request, self.wanted, placed.granted, self.hold.price, self.model.context)

    async def _open(self, max_tokens: int | None) -> Answering:
        return await open_upstream(
            self.call.services.http,
            self.model,
            self.request,
            max_tokens=max_tokens,
            request_id=self.call.request_id,
        )

    @staticmethod
    async def _abandon(opening: "asyncio.Task[Answering]") -> None:
        """Ends a call to the provider, whether it has begun to answer or not."""
        opening.cancel()
        for result in await asyncio.gather(opening, return_exceptions=True):
            if isinstance(result, Answering):
                result.close()

    # Answers that are not streamed.

    async def answer(self) -> Answer:
        """The provider's whole answer under a hold. A client that leaves ends the call and its hold."""
        if self.keyed:  # its answer is kept for the repeat
            return await self.read_whole(await self.begin())
        try:
            async with ClientWatch(self.call.receive):
                return await self.read_whole(await self.begin())
        except ClientGone:
            raise ApiError("client_closed", "The client closed the connection.") from None

    async def read_whole(self, answering: Answering) -> Answer:
        """The whole answer of a provider that has begun it; when it breaks off, nothing is delivered or charged."""
        try:
            body = await answering.read()
            return Answer(body=body, media_type=answering.media_type, usage=self._usage_in(body))
        except ApiError as error:
            answering.close()
            await self.hold.release(error.code)
            raise
        except BaseException:
            self.hold.drop("client_gone")
            raise
        finally:
            answering.close()

    def _usage_in(self, body: bytes) -> Usage:
        """Of a whole answer; `ApiError` if it is no completion."""
        try:
            completion = _completions.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ApiError("upstream_error", "The provider's answer is not a completion.") from None
        told = usage_of(completion.usage, context=self.model.context, n=self.request.n)
        if told is not None:
            return told
        size = _text_bytes(completion.choices)
        return self.estimated(chunks=1 if size else 0, text_bytes=size)

    def estimated(self, *, chunks: int, text_bytes: int) -> Usage:
        """Counted by us, from what was delivered."""
        return estimated(
            prompt_bytes=self.request.prompt_bytes,
            chunks=chunks,
            text_bytes=text_bytes,
            context=self.model.context,
        )

    async def settle_whole(self, answer: Answer) -> Settlement:
        """Charges an answer before it is sent. 503 `settlement_unknown` withholds it: then all is given back."""
        settlement = await self.hold.settle(answer.usage, request_id=self.call.request_id)
        if settlement is None:
            self.hold.drop("settlement_unknown")
            raise ApiError(
                "settlement_unknown",
                headers={"Retry-After": "5"},
                command_id=self.hold.command_id,
                hold_id=self.hold.id,
            )
        return settlement


class _Completion(Struct, frozen=True, kw_only=True):
    choices: Raw
    usage: Raw | None = None


class _Function(Struct, frozen=True, kw_only=True):
    arguments: str | None = None


class _ToolCall(Struct, frozen=True, kw_only=True):
    function: _Function | None = None


class _Message(Struct, frozen=True, kw_only=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct, frozen=True, kw_only=True):
    message: _Message


_completions = msgspec.json.Decoder(_Completion)
_choices = msgspec.json.Decoder(list[_Choice])


def _text_bytes(choices: Raw) -> int:
    """Bytes of text and arguments in all choices; all of them where they have a shape of their own."""
    try:
        found = _choices.decode(choices)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return memoryview(choices).nbytes
    texts: list[str | None] = []
    for choice in found:
        message = choice.message
        texts += [message.content, message.refusal, message.reasoning_content]
        texts += [call.function.arguments for call in message.tool_calls or () if call.function is not None]
    return sum(len(text.encode()) for text in texts if text)


def cost_headers(settlement: Settlement) -> dict[str, str]:
    """What every billable answer carries."""
    return {
        "X-Credits-Cost": format_credits(settlement.cost),
        "X-Credits-Remaining": format_credits(settlement.remaining),
        "X-Settlement": "settled" if settlement.settled else "pending",
    }
