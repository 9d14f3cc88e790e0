"""What the provider refuses, in OpenAI's error shape."""

import json
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError

from devnet.provider import ProviderOptions, running
from tests.devnet.provider.conftest import client_of
from tests.devnet.provider.test_answers import BODY, HELLO, said

WRONG: list[tuple[str, dict[str, Any], str | None]] = [
    ("missing messages", {"messages": ...}, "missing_required_parameter"),
    ("missing model", {"model": ...}, "missing_required_parameter"),
    ("missing role", {"messages": [{"content": "x"}]}, "missing_required_parameter"),
    ("no messages", {"messages": []}, "invalid_value"),
    ("messages of the wrong type", {"messages": "hello"}, "invalid_type"),
    ("content of the wrong type", {"messages": [{"role": "user", "content": 7}]}, "invalid_type"),
    ("an unknown role", {"messages": [{"role": "king", "content": "x"}]}, "invalid_value"),
    ("a model of the wrong type", {"model": 1}, "invalid_type"),
    ("max_tokens 0", {"max_tokens": 0}, "invalid_value"),
    ("max_tokens as text", {"max_tokens": "9"}, "invalid_type"),
    ("max_tokens under both names", {"max_tokens": 1, "max_completion_tokens": 1}, "invalid_parameter_combination"),
    ("n 0", {"n": 0}, "invalid_value"),
    ("too much in all", {"n": 128, "messages": said("[[tokens=1000]]")}, "invalid_value"),
    ("five stop sequences", {"stop": list("abcde")}, "invalid_value"),
    ("stream as text", {"stream": "yes"}, "invalid_type"),
    ("stream_options without stream", {"stream_options": {"include_usage": True}}, "invalid_value"),
    ("a temperature of 3", {"temperature": 3}, "invalid_value"),
    ("top_logprobs alone", {"top_logprobs": 2}, "invalid_value"),
    ("a forced tool without tools", {"tool_choice": "required"}, "invalid_value"),
    ("a json_schema without one", {"response_format": {"type": "json_schema"}}, "missing_required_parameter"),
    ("a directive that is none", {"messages": said("[[tps=fast]]")}, "invalid_provider_option"),
    ("a failure that is none", {"messages": said("[[fail=softly]]")}, "invalid_provider_option"),
]
BROKEN = [b"", b"{", b"null", b"[]", b'"x"', b"\xff", b'{"model": "\\ud800"}', b"[" * 100_000]


@pytest.mark.parametrize(("change", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_400_for_what_is_wrong(http: aiohttp.ClientSession, change: dict[str, Any], code: str | None) -> None:
    """Each mistake is a 400 `invalid_request_error` with its code and a message."""
    body = {name: value for name, value in {**BODY, **change}.items() if value is not ...}
    async with http.post("/v1/chat/completions", json=body) as response:
        error = (await response.json())["error"]
    assert response.status == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
async def test_400_for_what_is_not_an_object(http: aiohttp.ClientSession, body: bytes) -> None:
    """Broken, foreign, too deeply nested JSON and lone surrogates are each a 400."""
    async with http.post("/v1/chat/completions", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_the_parameter_at_fault_is_named(client: AsyncOpenAI) -> None:
    """`param` is the path of the wrong value, as OpenAI writes it."""
    messages: Any = [{"role": "user", "content": "x"}, {"role": "user", "content": 7}]
    with pytest.raises(BadRequestError) as refused:
        await client.chat.completions.create(model="fs-basic", messages=messages)
    assert refused.value.param == "messages[1].content"


async def test_404_for_an_unknown_model(client: AsyncOpenAI) -> None:
    """A model that is not on the list is `model_not_found`, in a chat and when fetched."""
    with pytest.raises(NotFoundError) as refused:
        await client.chat.completions.create(model="gpt-nothing", messages=HELLO)
    assert refused.value.code == "model_not_found"
    with pytest.raises(NotFoundError) as unknown:
        await client.models.retrieve("gpt-nothing")
    assert unknown.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("characters", "max_tokens"),
    [(4 * 32_762, None), (4 * 32_762, 1), (4 * 32_000, 763)],
    ids=["the prompt alone", "nothing left", "prompt and answer"],
)
async def test_400_past_the_context(client: AsyncOpenAI, characters: int, max_tokens: int | None) -> None:
    """More than 32,768 tokens, of the prompt or with the answer asked for, is `context_length_exceeded`."""
    with pytest.raises(BadRequestError) as refused:
        await client.chat.completions.create(
            model="fs-basic", messages=said("x" * characters), max_completion_tokens=max_tokens
        )
    assert refused.value.code == "context_length_exceeded"
    assert "maximum context length is 32768 tokens" in refused.value.message


async def test_the_context_can_be_filled_to_the_last_token(client: AsyncOpenAI) -> None:
    """Prompt and answer of exactly 32,768 tokens are answered, asked for or not."""
    messages = said("[[tokens=1000]]".ljust(4 * 32_000))
    bounded = await client.chat.completions.create(model="fs-basic", messages=messages, max_tokens=762)
    unbounded = await client.chat.completions.create(model="fs-basic", messages=messages)
    for answer in (bounded, unbounded):
        assert answer.usage is not None
        assert answer.usage.total_tokens == 32_768
        assert answer.choices[0].finish_reason == "length"


async def test_401_for_another_key_when_one_is_asked_for() -> None:
    """With `api_key` set only that key is let in, to the models too."""
    async with (
        running(ProviderOptions(api_key="right")) as provider,
        client_of(provider, api_key="right") as known,
        client_of(provider, api_key="wrong") as stranger,
    ):
        await known.chat.completions.create(model="fs-basic", messages=HELLO)
        with pytest.raises(AuthenticationError):
            await stranger.chat.completions.create(model="fs-basic", messages=HELLO)
        with pytest.raises(AuthenticationError):
            await stranger.models.list()


async def test_other_addresses_are_refused_in_the_same_shape(http: aiohttp.ClientSession) -> None:
    """An unknown path is a 404, a wrong method a 405, both as JSON."""
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405)):
        async with http.request(method, path) as response:
            assert response.status == status
            assert json.loads(await response.read())["error"]["type"] == "invalid_request_error"
