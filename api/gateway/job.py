"""One attempt at a chat completion: what it may cost, its hold, and a provider that begins to answer."""

import asyncio
from typing import TYPE_CHECKING, Any

from api.errors import ApiError, declare
from api.gateway.estimate import Estimate, affordable_tokens, estimate
from api.gateway.extras import NO_EXTRAS, Extras, price_with, refuse_extras
from api.gateway.hold import Hold
from api.gateway.request import ChatRequest
from api.gateway.settlement import Placed
from api.gateway.upstream import Answering, open_upstream
from api.gateway.usage import estimated, usage_of
from api.quotas.guard import require_feature
from api.quotas.warnings import credits_warning, warning, warning_headers
from api.quotas.windows import asked_messages
from domain.account.holds import PlaceHold
from domain.account.quotas import MESSAGES
from domain.account.usage import Price, Usage
from domain.instant import SECOND
from domain.money import MicroCredits
from eventstore.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

    from api.call import Call
    from api.llm_models import LlmModel

TEST_PRICE = Price(input=0, cached_input=0, output=0, version="test")
"""Keys of mode `test` never spend."""

declare(
    "model_not_found",
    "not_found",
    "The model does not exist, or the key may not use it.",
    "GET /v1/models lists the models that the key may use.",
)
declare(
    "model_unpriced",
    "forbidden",
    "The model has no price and cannot be used.",
    "Ask the operator to state its price in the models file.",
)
declare(
    "audio_unpriced",
    "forbidden",
    "The model has no price for audio, so audio can neither be sent to it nor asked of it.",
    "Leave audio out, or ask the operator to state `audio_input` and `audio_output` in the models file.",
)


def find_model(call: "Call[Any, Any]", name: str) -> "LlmModel":
    """The model of this name, if the caller may use it: keys of mode `test` reach built-in models only. 404 else."""
    model = call.services.llm_models.get(name)
    if model is None or (call.caller.mode == "test" and not model.built_in):
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise ApiError("model_not_found", message, param="model")
    return model


def usable_model(call: "Call[Any, Any]", name: str) -> "LlmModel":
    """The same, if the caller's plan has the feature that the model requires. 402 `feature_not_in_plan` else."""
    model = find_model(call, name)
    if model.requires is not None:
        require_feature(call.caller.subscription, model.requires)
    return model


def price_for(call: "Call[Any, Any]", model: "LlmModel", extras: Extras = NO_EXTRAS, *, audio: bool = False) -> Price:
    """What the caller pays; 403 `model_unpriced`, `audio_unpriced` where nobody has said what that is.

    400 `parameter_unpriced` for what is charged extra and has no price.
    """
    if call.caller.mode == "test":
        price_with(extras, model, TEST_PRICE)  # refuses what would cost the operator
        return TEST_PRICE
    if model.price is None:
        raise ApiError("model_unpriced", f"The model '{model.id}' has no price and cannot be used.", param="model")
    price = model.price if extras is NO_EXTRAS else price_with(extras, model, model.price)
    if audio and model.status == "priced" and price.audio_input is None:
        raise ApiError("audio_unpriced", f"The model '{model.id}' has no price for audio.", param="messages")
    return price


declare(
    "key_credit_limit_exceeded",
    "payment_required",
    "The API key's own credit limit does not allow this request.",
    "`available` is what the key has left and `resets_at` when its period begins anew; raise the limit with PATCH"
    " /api-keys/{id}, or use another key.",
)


class ChatJob:
    """One attempt at one chat completion. `generation` names the command of its hold, `None` the request's own."""

    def __init__(self, call: "Call[Any, Any]", request: ChatRequest, *, generation: str | None = None) -> None:
        services = call.services
        self.call = call
        self.request = request
        self.model = usable_model(call, request.model)
        extras = request.extras
        refuse_extras(extras, self.model, request.fields)
        self.metering = services.metering
        price = price_for(call, self.model, extras, audio=request.audio)
        self.wanted: Estimate = estimate(request, price, context=self.model.context, max_output=self.model.max_output)
        caller, account_id = call.caller, call.caller.account_id
        draft = call.draft(f"account:{account_id}", command_id=generation)
        now = services.clock()
        expires_at = now + int((self.model.timeout_s + services.settings.hold_margin_s) * SECOND)
        place = PlaceHold(
            hold_id=f"hold_{draft.attempt}",
            amount=self.wanted.amount,
            amount_min=self.wanted.amount_min,
            model=self.model.id,
            price=price,
            expires_at=expires_at,
            key_id=caller.key_id,
            user_id=None if caller.user_id == account_id else caller.user_id,
            project_id=caller.project_id,
            messages=asked_messages(caller.subscription, now, enforced=services.settings.limits),
        )
        self.messages_limited = place.messages is not None
        self.hold = Hold(services.metering, draft, place)

    async def decided(self) -> Outcome:
        """The outcome of the hold's command, whichever attempt has won it."""
        self.metering.admit()
        return await self.hold.outcome()

    async def begin(self) -> Answering:
        """A hold that is granted and a provider that answers. Whatever goes wrong leaves no hold behind.

        With ample credits the provider is called while the hold is being decided; not for a key with a credit limit of
        its own, of which the balance tells nothing, nor near the end of a day's messages: exactly those that the plan
        allows reach a provider.
        """
        self.metering.admit()
        if not self._may_be_refused() and await self.metering.has_ample(
            self.call.caller.account_id, self.wanted.amount
        ):
            return await self._begin_at_once()
        return await self.begin_with(await self.hold.place())

    def _may_be_refused(self) -> bool:
        """For another reason than the account's credits."""
        caller = self.call.caller
        if caller.limits.credit_limit is not None:
            return True
        if not self.messages_limited:
            return False
        assert caller.subscription is not None
        per_minute = caller.subscription.plan.requests_per_minute
        return not self.metering.has_many_messages(caller.account_id, per_minute)

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

    def warnings(self, available: MicroCredits) -> "Mapping[str, str]":
        """`X-Quota-Warning` where the day's messages, or the plan's monthly credits, are nearly used up."""
        messages = self.hold.placed.messages
        return warning_headers(
            None if messages is None else warning(MESSAGES, messages, self.call.services.clock()),
            credits_warning(self.call.caller.subscription, available),
        )

    # What was used.

    def told(self, usage: "Raw | None") -> Usage | None:
        """The provider's counts, if they can be true."""
        return usage_of(usage, context=self.model.context, n=self.request.n, model=self.model.id)

    def estimated(self, *, chunks: int, text_bytes: int, audio_bytes: int = 0) -> Usage:
        """Counted by us."""
        return estimated(
            prompt_bytes=self.request.prompt_bytes,
            media=self.request.media,
            chunks=chunks,
            text_bytes=text_bytes,
            audio_bytes=audio_bytes,
            context=self.model.context,
        )
