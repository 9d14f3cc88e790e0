"""What a provider charges beside tokens: priced and charged, or refused before anything is called."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import structs

from api.errors import ApiError
from api.gateway.estimate import estimate
from api.gateway.extras import price_with, refuse_extras
from api.gateway.request import ChatRequest, decode_request
from api.llm_models import LlmModel, load_llm_models
from domain.account.usage import Price, Usage, cost, price_served
from tests.api.gateway.account import Account, until
from tests.api.gateway.place import models_at, running_place, with_models

BASIC = load_llm_models(environ={})["fs-basic"]
assert BASIC.price is not None
STANDARD = BASIC.price
PRIORITY = structs.replace(
    STANDARD, input=2_000_000, cached_input=200_000, output=8_000_000, version="p", tier="priority", standard=STANDARD
)
FLEX = structs.replace(
    STANDARD, input=500_000, cached_input=50_000, output=2_000_000, version="f", tier="flex", standard=STANDARD
)
PRICED = structs.replace(
    BASIC, id="priced", tiers={"priority": PRIORITY, "flex": FLEX}, web_search=25_000, allow=frozenset({"plugins"})
)
HELLO = [{"role": "user", "content": "hello"}]


def request_of(**fields: Any) -> ChatRequest:
    """A request that is read."""
    return decode_request(msgspec.json.encode({"model": "m", "messages": HELLO, **fields}))


def price_of(model: LlmModel, **fields: Any) -> Price:
    """What a request is held at; `ApiError` where it is refused."""
    request = request_of(**fields)
    refuse_extras(request.extras, model, request.fields)
    assert model.price is not None
    return price_with(request.extras, model, model.price)


UNPRICED: list[tuple[str, Any]] = [
    ("service_tier", "priority"),
    ("service_tier", "flex"),
    ("service_tier", "fast"),
    ("web_search_options", {}),
    ("web_search_options", {"search_context_size": "high"}),
    ("plugins", [{"id": "web"}]),
    ("Plugins", [{"id": "web"}]),
    ("models", ["dearer/model"]),
    ("provider", {"order": ["dear"]}),
    ("providerOptions", {"gateway": {}}),
    ("search_parameters", {"mode": "on"}),
    ("ſearch_parameters", {"mode": "on"}),
    ("enable_search", True),
    ("enableSearch", True),
    ("speed", "fast"),
    ("mcp_servers", [{}]),
    ("tools", [{"type": "web_search"}]),
    ("tools", [{"type": "function", "function": {"name": "f"}}, {"type": "openrouter:web_search"}]),
    ("tools", [{"googleSearch": {}}]),
    ("tools", [{"function": {"name": "f"}, "googleSearch": {}}]),
    ("tools", {"type": "web_search"}),
    ("modalities", ["text", "image"]),
    ("extra_body", {"service_tier": "priority"}),
    ("extra_body", {"Plugins": [{"id": "web"}]}),
    ("extra_body", {"max_tokens": 9_999}),
    ("extra_body", {"extra_body": {}}),
]


@pytest.mark.parametrize(("name", "value"), UNPRICED)
def test_what_is_charged_extra_is_refused_without_a_price(name: str, value: Any) -> None:
    """However it is spelled: the parameter is named, and what to do next is told."""
    with pytest.raises(ApiError) as refused:
        price_of(BASIC, **{name: value})
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "parameter_unpriced", name)


@pytest.mark.parametrize(
    ("name", "folds_to"),
    [("Service_Tier", "service_tier"), ("serviceTier", "service_tier"), ("max_toKens", "max_tokens"), ("n_cmpl", "n")],
)
def test_a_name_that_only_some_server_understands_is_refused(name: str, folds_to: str) -> None:
    """It would tell the provider something else than us: Go compares names without case, with folded letters.

    `n_cmpl` is llama.cpp's own name for `n`, and counts before it.
    """
    with pytest.raises(ApiError, match=f"Did you mean '{folds_to}'") as refused:
        request_of(**{name: "x"})
    assert (refused.value.code, refused.value.param) == ("invalid_value", name)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"service_tier": None, "web_search_options": None, "plugins": None, "tools": [], "modalities": ["text"]},
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"service_tier": "on_demand"},
        {"service_tier": "standard"},
        {"enable_search": False, "web_search": False, "plugins": [], "models": [], "mcp_servers": []},
        {"extra_body": {"google": {"thinking_config": {"include_thoughts": True}}}},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]},
        {"tools": [{"function": {"name": "f"}}]},
        {"top_k": 5, "chat_template_kwargs": {"thinking": False}, "reasoning_effort": "high", "x": {"plugins": 1}},
    ],
)
def test_everything_else_passes(fields: dict[str, Any]) -> None:
    """Names that nobody knows pass to the provider as ever, and cost what the model costs."""
    assert price_of(BASIC, **fields) == STANDARD


def test_the_models_file_decides() -> None:
    """What it prices or allows passes; what it refuses does not, whatever it is."""
    assert price_of(PRICED, service_tier="flex") == FLEX
    assert price_of(PRICED, plugins=[{"id": "web"}]) == STANDARD
    assert price_of(PRICED, web_search_options={}).request == 25_000
    both = price_of(PRICED, web_search_options={}, service_tier="priority")
    assert both.standard is not None
    assert (both.request, both.standard.request, both.output) == (25_000, 25_000, 8_000_000)
    with pytest.raises(ApiError, match="flex, priority"):
        price_of(PRICED, service_tier="scale")
    strict = structs.replace(BASIC, refuse=frozenset({"topk"}))
    with pytest.raises(ApiError) as refused:
        price_of(strict, top_k=5)
    assert refused.value.param == "top_k"


@pytest.mark.parametrize("tier", ["priority", "flex"])
@pytest.mark.parametrize("standard", [True, False])
def test_the_hold_covers_either_tier(tier: str, standard: bool) -> None:  # a parameter of the test
    """A tier that is cheaper may be served as the standard one, and then costs more."""
    fields = {"service_tier": tier, "max_tokens": 10, "web_search_options": {}}
    price = price_of(PRICED, **fields)
    wanted = estimate(request_of(**fields), price, context=1_000, max_output=100)
    most = Usage(source="provider", input=wanted.prompt, output=10)
    assert wanted.amount >= cost(most, price_served(price, standard=standard)) > 25_000


def test_a_prediction_is_output_beside_the_answer() -> None:
    """Every token of it may be wrong, and is charged then; `max_tokens` bounds none of that."""
    content = "x" * 5_000
    request = request_of(max_tokens=1, prediction={"type": "content", "content": content})
    wanted = estimate(request, STANDARD, context=32_768, max_output=4_096)
    assert wanted.output >= 4_096 + 5_000
    assert wanted.amount_min == wanted.amount
    twice = request_of(max_tokens=1, prediction={"content": content}, Prediction={"content": "x"})
    assert estimate(twice, STANDARD, context=32_768, max_output=4_096).output >= 4_096 + 5_000


@pytest.mark.parametrize("name", ["num_predict", "n_predict", "max_new_tokens"])
def test_what_bounds_an_answer_in_the_place_of_max_tokens_is_held_in_full(name: str) -> None:
    """Ollama and llama.cpp take their own name before `max_tokens`: what that says bounds nothing then."""
    request = request_of(max_tokens=1, **{name: 4_000})
    assert estimate(request, STANDARD, context=32_768, max_output=4_096).output == 4_096


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"role":"user"}],"modalities":["text","aud\\u0069o"]}',
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"audio_url"}]}]}',
        (
            b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":'
            b'{"url":"DATA:audio/mp3;base64,AA"}}]}]}'
        ),
        (
            b'{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":'
            b'{"file_data":"data:audio/wav;base64,AA"}}]}]}'
        ),
    ],
)
def test_sound_is_found_however_it_is_written(body: bytes) -> None:
    """It is many times dearer than text: no way of writing it down makes it text."""
    assert decode_request(body).audio


class Upstream:
    """A provider that keeps what it is sent, and answers in the tier it likes."""

    def __init__(self) -> None:
        self.served: str | None = None
        self.bodies: list[Any] = []
        self.held: asyncio.Event | None = None
        """Until it is set, the usage of a stream is held back."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Ten tokens each way, streamed or not."""
        body = await request.json()
        self.bodies.append(body)
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        tier = {} if self.served is None else {"service_tier": self.served}
        if not body.get("stream"):
            message = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
            return web.json_response({"object": "chat.completion", "choices": [message], "usage": usage, **tier})
        streamed = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await streamed.prepare(request)
        choice = {"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}
        await streamed.write(b"data: " + msgspec.json.encode({"choices": [choice], **tier}) + b"\n\n")
        if self.held is not None:
            await self.held.wait()
        last = {"choices": [], "usage": usage}
        await streamed.write(b"data: " + msgspec.json.encode(last) + b"\n\ndata: [DONE]\n\n")
        return streamed


@asynccontextmanager
async def upstream_account() -> AsyncIterator[tuple[Upstream, Account]]:
    """An account whose models are at such a provider."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", upstream.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    def there(model: LlmModel, **more: Any) -> LlmModel:
        deployments = tuple(structs.replace(each, base_url=base_url, **more) for each in model.deployments)
        return structs.replace(model, deployments=deployments)

    models = (there(BASIC), there(PRICED, standard_tier="default"))
    try:
        async with running_place(models=lambda provider: with_models(models_at(provider), *models)) as place:
            yield upstream, await place.account()
    finally:
        await runner.cleanup()


async def newest_explained(account: Account) -> Any:
    """The newest movement of its credits, as it is explained to it."""
    place, headers = account.place, {"Authorization": f"Bearer {account.token}"}
    url = f"{place.url}/billing/credits/transactions"
    async with place.http.get(f"{url}?limit=1", headers=headers) as listed:
        newest = (await listed.json())["data"][0]["id"]
    async with place.http.get(f"{url}/{newest}", headers=headers) as explained:
        assert explained.status == 200
        return await explained.json()


def test_a_request_for_no_tier_asks_for_the_standard_one_by_the_providers_own_name(tmp_path: Path) -> None:
    """Groq, as one, refuses `default`; a standard tier that the client names is the same one."""
    for written, tiers, asked in (("", False, None), ("", True, "default"), ("on_demand", True, "on_demand")):
        prices = 'input = "1"\ncached_input = "1"\noutput = "1"\n'
        text = '[models.m]\nprovider = "openai_compatible"\nbase_url = "http://127.0.0.1/v1"\ncontext = 9\n' + prices
        text += f'standard_tier = "{written}"\n' if written else ""
        text += f"[models.m.tiers.flex]\n{prices}" if tiers else ""
        (path := tmp_path / "models.toml").write_text(text)
        [deployment] = load_llm_models(path, {})["m"].deployments
        assert deployment.standard_tier == asked
        for fields in ({}, {"service_tier": "auto"}, {"service_tier": "standard"}):
            body = request_of(**fields).upstream_body("m", None, deployment.standard_tier)
            assert msgspec.json.decode(body).get("service_tier") == (asked or fields.get("service_tier"))


async def test_the_charge_is_of_what_was_served() -> None:
    """Whole and streamed: a tier at its price, what was served as standard at that, web search for the call."""
    async with upstream_account() as (upstream, account):
        holds = 0
        for tier, served, credits in (
            ("priority", "priority", 100),
            ("priority", None, 100),
            ("priority", "default", 50),
            ("flex", "flex", 25),
            ("flex", "standard", 50),
            ("auto", "default", 50),
        ):
            for stream in (False, True):
                upstream.served = served
                answer = await account.chat("Hello", model="priced", service_tier=tier, stream=stream)
                assert answer.status == 200, answer.body
                holds += 1
                hold = (await account.ended(holds))[0]
                assert (hold.cost, upstream.bodies[-1]["service_tier"]) == (credits, tier.replace("auto", "default"))
        upstream.served = "default"
        searched = await account.chat("Hello", model="priced", web_search_options={}, service_tier="priority")
        assert searched.headers["X-Credits-Cost"] == "0.025050"
        explained = await newest_explained(account)
        assert (explained["transaction"]["price_version"], explained["hold"]["prices"]["tier"]) == (
            STANDARD.version,
            None,
        )
        charge = explained["charge"]
        assert (charge["request"], charge["exact"], charge["cost"]) == ("0.025000", "0.025050000000", "0.025050")
        # Who asks for none gets the standard one, whatever the provider's own default is.
        await account.chat("Hello", model="priced")
        assert upstream.bodies[-1]["service_tier"] == "default"
        await account.chat("Hello", model="fs-basic")
        assert "service_tier" not in upstream.bodies[-1]


async def test_nothing_is_called_for_what_has_no_price() -> None:
    """400, with the parameter and without a hold; keys of mode `test` cost the operator nothing either."""
    async with upstream_account() as (upstream, account):
        tester = await account.place.account(mode="test")
        for who in (account, tester):
            every: tuple[dict[str, Any], ...] = (
                {"service_tier": "priority"},
                {"web_search_options": {}},
                {"models": ["other"]},
            )
            for fields in every:
                answer = await who.chat("Hello", **fields)
                assert (answer.status, answer.error["code"]) == (400, "parameter_unpriced")
                assert answer.error["param"] == next(iter(fields))
        assert not upstream.bodies
        assert not await account.holds()


@pytest.mark.parametrize("fields", [{"chat_template": "{% for %}"}, {"cached_content": "c"}, {"extra_body": {}}])
def test_a_prompt_that_is_not_in_the_body_fills_the_context(fields: dict[str, Any]) -> None:
    """Its tokens cannot be told from its bytes."""
    assert estimate(request_of(**fields), STANDARD, context=32_768, max_output=10).prompt == 32_768


def test_sound_of_an_earlier_answer_is_sound() -> None:
    """It is sent by its id alone."""
    request = request_of(messages=[*HELLO, {"role": "assistant", "audio": {"id": "audio_1"}}, *HELLO])
    assert request.audio
    assert estimate(request, STANDARD, context=32_768, max_output=10).prompt == 32_768


async def test_who_leaves_with_the_whole_answer_pays_for_its_usage() -> None:
    """Reasoning is told by the usage alone, which comes behind the last text: leaving in between saves nothing."""
    async with upstream_account() as (upstream, account):
        upstream.held = asyncio.Event()
        place, metering = account.place, account.place.services.metering
        body = {"model": "fs-basic", "messages": HELLO, "stream": True}
        headers = {"Authorization": f"Bearer {account.key}"}
        async with place.http.post(f"{place.url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert b'"stop"' in await answer.content.readany()
            answer.close()

        async def heard() -> bool:
            return not metering.watches

        await until(heard)
        upstream.held.set()
        (hold,) = await account.ended()
        assert hold.usage == Usage(source="provider", input=10, output=10, reasoning=0)
        assert hold.cost == 50
