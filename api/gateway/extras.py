"""Parameters by which a provider charges for more than tokens at a model's prices, or for another model's.

They pass only where the models file prices them (`tiers`, `web_search`) or lets them through (`allow`): whatever the
operator pays for has a price here. Names are compared as the most lenient servers read them: without regard to case,
to letters that fold into others, and to how words are joined.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Raw, Struct, structs

from api.errors import ApiError, declare
from domain.account.usage import Price
from domain.money import MicroCredits

if TYPE_CHECKING:
    from api.llm_models import LlmModel

TIER = "service_tier"
WEB_SEARCH = "web_search_options"
StandardTier: TypeAlias = Literal["default", "standard", "on_demand"]
"""What providers call their standard tier, in requests and answers; the last is Groq."""
STANDARD_TIER: StandardTier = "default"
SERVED_AS_STANDARD = frozenset(get_args(StandardTier))
STANDARD_TIERS = SERVED_AS_STANDARD | {"auto"}
"""What may be asked for without a price of its own: the model's prices are those of its provider's standard tier."""
TOOLS = frozenset({"function", "custom"})
"""Tools that the client runs. Every other kind is the provider's own, and charged by the call."""
MODALITIES = frozenset({"text", "audio"})
"""Pictures and films have prices that no token of text has."""

KNOWN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format", "modalities", "stop", "seed", "user"),
        *("temperature", "top_p", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias"),
        *("reasoning_effort", "verbosity", "metadata", "store", TIER, WEB_SEARCH),
    }
)
"""Names that need no second look: read here, or known to cost nothing but tokens."""

OTHER_MODELS = (
    "models",
    "route",
    "provider",
    "provider_options",
    "preset",
    "fallbacks",
    "context_window_fallback_dict",
    "safety_model",
)
"""Who else may answer or read along, and at which price: OpenRouter, Vercel, LiteLLM, Together."""
SEARCHES = (
    "plugins",
    "search_parameters",
    "search_options",
    "search_settings",
    "search_type",
    "enable_search",
    "enable_enhancement",
    "enable_deep_search",
    "force_search_enhancement",
    "web_search",
    "connectors",
    "data_sources",
)
"""OpenRouter, xAI, DashScope, Groq, Perplexity, Hunyuan, Qianfan, Cohere, Azure."""
SURCHARGES = ("speed", "inference_geo", "mcp_servers", "container", "compound_custom", "image_config")
"""Anthropic's faster and regional service and its tools on the server, Groq's systems, pictures."""

UNBOUNDED = (
    "prediction",
    "max_new_tokens",
    "max_output_tokens",
    "num_predict",
    "n_predict",
    "max_tokens_to_sample",
    "generation_config",
)
"""With these `max_tokens` is not what bounds the answer, or not for every server: the hold covers all there can be.
llama.cpp, as one, takes `n_predict` before `max_tokens`.
Each wrong token of a prediction is charged as output, beside the answer (OpenAI, "Predicted outputs")."""

ELSEWHERE = ("chat_template", "cached_content", "extra_body")
"""With these the prompt may have more tokens than the body has bytes: templates repeat, caches are at the provider."""

MERGED = "extra_body"
"""LiteLLM, as a provider, reads what is in it as if it stood beside it; Google has names of its own there."""

declare(
    "parameter_unpriced",
    "invalid",
    "The provider charges extra for this parameter, and the model has no price for that.",
    "Leave out the parameter that `param` names, or ask the operator to price or to allow it in the models file.",
)


def folded(name: str) -> str:
    """A parameter's name as the most lenient server compares it."""
    return name.casefold().replace("_", "").replace("-", "")


_EXTRAS = frozenset(map(folded, OTHER_MODELS + SEARCHES + SURCHARGES))
_UNBOUNDED = frozenset(map(folded, UNBOUNDED))
_PLAIN = KNOWN - {"tools", "modalities", TIER, WEB_SEARCH}
"""What nearly all requests are made of, and is never charged extra whatever it says."""
_ELSEWHERE = frozenset(map(folded, ELSEWHERE))
_READ = ("model", "messages", "max_tokens", "max_completion_tokens", "n", "n_cmpl", "tools", "modalities")
_NOT_MERGED = _EXTRAS | _UNBOUNDED | frozenset(map(folded, (*_READ, TIER, WEB_SEARCH, MERGED)))
_MERGED, _PREDICTION = folded(MERGED), folded("prediction")


class Extras(Struct, frozen=True, kw_only=True):
    """What a body asks for beside tokens."""

    tier: str | None = None
    """A tier of service that is not the standard one."""
    web_search: bool = False
    named: tuple[str, ...] = ()
    """Parameters that are charged extra, as the client has named them."""
    unbounded: bool = False
    """Something else than `max_tokens` may bound the answer."""
    elsewhere: bool = False
    """Some of the prompt is not in the body."""
    predicted_bytes: int = 0
    """Of a prediction: as many tokens at most may be charged beside the answer."""


NO_EXTRAS = Extras()


def extras_of(fields: Mapping[str, Any], tier: str | None) -> Extras:
    """What of a decoded body is charged extra; `tier` is its tier of service."""
    if fields.keys() <= _PLAIN:
        return NO_EXTRAS
    strange = [(folded(name), name) for name, value in fields.items() if name not in KNOWN and _asks(value)]
    keys = {key for key, _ in strange}
    named = [name for key, name in strange if key in _EXTRAS or (key == _MERGED and _hides(fields[name]))]
    if not _within(fields.get("tools"), TOOLS, "type"):
        named.append("tools")
    if not _within(fields.get("modalities"), MODALITIES, None):
        named.append("modalities")
    tier = None if tier in STANDARD_TIERS else tier
    web_search = fields.get(WEB_SEARCH) is not None
    unbounded = not _UNBOUNDED.isdisjoint(keys)
    elsewhere = not _ELSEWHERE.isdisjoint(keys)
    if not (named or tier or web_search or unbounded or elsewhere):
        return NO_EXTRAS
    predicted = [fields[name] for key, name in strange if key == _PREDICTION]
    return Extras(
        tier=tier,
        web_search=web_search,
        named=tuple(named),
        unbounded=unbounded,
        elsewhere=elsewhere,
        predicted_bytes=sum(len(msgspec.json.encode(each)) for each in predicted),
    )


def _asks(value: Any) -> bool:
    """Whether a parameter asks for anything: many clients say of each search that they want none."""
    return value is not None and value is not False and value != []


def _hides(merged: Any) -> bool:
    """Whether it would change what the hold is reckoned with, or cost extra."""
    return isinstance(merged, dict) and not _NOT_MERGED.isdisjoint(map(folded, merged))


def _within(values: Any, known: frozenset[str], key: str | None) -> bool:
    """Whether each of a list, or each one's `key`, is known."""
    if values is None or values == []:
        return True
    if not isinstance(values, list):
        return False
    each = values if key is None else [_named_by(value, key) for value in values]
    return all(isinstance(value, str) and value in known for value in each)


def _named_by(value: Any, key: str) -> Any:
    """Its `key`; of a tool that has nothing but a function, which servers such as vLLM take without a type, that."""
    if not isinstance(value, dict):
        return None
    return "function" if value.keys() == {"function"} else value.get(key)


def refuse_extras(extras: Extras, model: "LlmModel", fields: Collection[str]) -> None:
    """400 `parameter_unpriced` for the first of a body's parameters that the model neither prices nor lets through."""
    for name in extras.named:
        if folded(name) not in model.allow:
            raise unpriced(name, model)
    if model.refuse:
        for name in fields:
            if folded(name) in model.refuse:
                raise unpriced(name, model)


def price_with(extras: Extras, model: "LlmModel", price: Price) -> Price:
    """The model's price with what is charged beside: a tier's instead, and web search for the call."""
    if extras.tier is not None and extras.tier in model.tiers:
        price = model.tiers[extras.tier]
    elif extras.tier is not None and folded(TIER) not in model.allow:
        raise unpriced(TIER, model, offered=sorted(model.tiers))
    if extras.web_search and model.web_search is not None:
        price = _with_request(price, model.web_search)
    elif extras.web_search and folded(WEB_SEARCH) not in model.allow:
        raise unpriced(WEB_SEARCH, model)
    return price


def _with_request(price: Price, more: MicroCredits) -> Price:
    standard = None if price.standard is None else _with_request(price.standard, more)
    return structs.replace(price, request=price.request + more, standard=standard)


def served_as_standard(price: Price, told: Raw | None) -> bool:
    """Whether a provider that was asked for a tier says that it has served the request as any other.

    What it does not tell of, or calls by another name, is what was asked for: nobody is served a dearer one.
    """
    if price.standard is None or not told:
        return False
    try:
        return msgspec.json.decode(told) in SERVED_AS_STANDARD
    except (msgspec.MsgspecError, TypeError, RecursionError):
        return False


def unpriced(name: str, model: "LlmModel", *, offered: Sequence[str] = ()) -> ApiError:
    """The refusal of one parameter; `offered` are values of it that have a price."""
    message = f"The model '{model.id}' has no price for what its provider charges for '{name}'."
    if offered:
        message += f" It has one for: {', '.join(offered)}."
    return ApiError("parameter_unpriced", message, param=name)
