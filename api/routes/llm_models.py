"""The models that a caller can use: `/v1/models` in OpenAI's shape, `/api/models` with what they cost."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from api.call import Call
from api.gateway.job import find_model
from api.route import Route, needs
from domain.account.usage import Price
from domain.money import format_credits, maybe_credits

if TYPE_CHECKING:
    from api.llm_models import LlmModel

CREATED = 1_735_689_600
"""2025-01-01T00:00:00Z. OpenAI's shape wants a time; a models file tells none."""


class OpenAiModel(Struct, frozen=True, kw_only=True):
    """A model as OpenAI's SDKs read it."""

    id: str
    object: str = "model"
    created: int = CREATED
    owned_by: str = "form-state"


class OpenAiModels(Struct, frozen=True, kw_only=True):
    """All models, never paged, as at OpenAI."""

    data: list[OpenAiModel]
    object: str = "list"


class TierPrice(Struct, frozen=True, kw_only=True):
    """Credits per million tokens, and for the call itself (`request`).

    Without prices of audio none is taken; what is written into a cache costs as input where nothing else is said.
    """

    input: str
    cached_input: str
    output: str
    audio_input: str | None
    audio_output: str | None
    cache_write: str | None
    request: str
    version: str


class ModelPrice(TierPrice, frozen=True, kw_only=True):
    """What the model costs in the standard tier; `web_search` is for a call with `web_search_options`, if it has one.

    `tiers` are those that may be asked for by `service_tier`, and what they cost instead.
    """

    web_search: str | None
    tiers: dict[str, TierPrice]


class ModelView(Struct, frozen=True, kw_only=True):
    """A model and what it costs. `status` is `priced`, `free` or `unpriced`; an unpriced one cannot be used."""

    id: str
    title: str
    context: int
    max_output: int
    status: str
    price: ModelPrice | None
    built_in: bool
    requires: str | None
    """The feature that the plan must have for it; null: every plan has it."""


class ModelList(Struct, frozen=True, kw_only=True):
    """All models that the caller can see."""

    data: list[ModelView]
    object: str = "list"
    has_more: bool = False
    next_cursor: str | None = None


def _visible(call: "Call[None, None]") -> "list[LlmModel]":
    """Keys of mode `test` see what they reach: built-in models."""
    models = call.services.llm_models.values()
    return [model for model in models if model.built_in or call.caller.mode == "live"]


def _view(model: "LlmModel") -> ModelView:
    price = model.price
    return ModelView(
        id=model.id,
        title=model.title,
        context=model.context,
        max_output=model.max_output,
        status=model.status,
        price=None
        if price is None
        else ModelPrice(
            **_priced(price),
            web_search=maybe_credits(model.web_search),
            tiers={name: TierPrice(**_priced(each)) for name, each in model.tiers.items()},
        ),
        built_in=model.built_in,
        requires=model.requires,
    )


def _priced(price: Price) -> dict[str, Any]:
    return {
        "input": format_credits(price.input),
        "cached_input": format_credits(price.cached_input),
        "output": format_credits(price.output),
        "audio_input": maybe_credits(price.audio_input),
        "audio_output": maybe_credits(price.audio_output),
        "cache_write": maybe_credits(price.cache_write),
        "request": format_credits(price.request),
        "version": price.version,
    }


async def list_openai_models(call: "Call[None, None]") -> OpenAiModels:
    """What `client.models.list()` asks for."""
    return OpenAiModels(data=[OpenAiModel(id=model.id) for model in _visible(call)])


async def get_openai_model(call: "Call[None, None]") -> OpenAiModel:
    """What `client.models.retrieve()` asks for."""
    return OpenAiModel(id=find_model(call, call.path["id"]).id)


async def list_models(call: "Call[None, None]") -> ModelList:
    """Every model with its price."""
    return ModelList(data=[_view(model) for model in _visible(call)])


async def get_model(call: "Call[None, None]") -> ModelView:
    """One model with its price."""
    return _view(find_model(call, call.path["name"]))


READ = needs("models:read", project=True)
EXAMPLE = "fs-basic"
ROUTES = (
    Route(
        method="GET",
        path="/v1/models",
        handler=list_openai_models,
        summary="List OpenAI models",
        description="The models on offer, in OpenAI's shape.",
        tag="models",
        access=READ,
        answers={200: OpenAiModels},
    ),
    Route(
        method="GET",
        path="/v1/models/{id:path}",
        handler=get_openai_model,
        summary="Get an OpenAI model",
        description="In OpenAI's shape.",
        tag="models",
        access=READ,
        answers={200: OpenAiModel},
        errors=("model_not_found",),
        path_examples={"id": EXAMPLE},
    ),
    Route(
        method="GET",
        path="/api/models",
        handler=list_models,
        summary="List models",
        description="With their limits and prices.",
        tag="models",
        access=READ,
        answers={200: ModelList},
    ),
    Route(
        method="GET",
        path="/api/models/{name:path}",
        handler=get_model,
        summary="Get a model",
        description="With its limits and prices.",
        tag="models",
        access=READ,
        answers={200: ModelView},
        errors=("model_not_found",),
        path_examples={"name": EXAMPLE},
    ),
)
