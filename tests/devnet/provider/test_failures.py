"""Failures on demand, the pace, and what the provider knows about clients that left."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from devnet.provider import Running
from tests.devnet.provider.conftest import until
from tests.devnet.provider.test_answers import BODY, HELLO, said, streamed

PATH = "/v1/chat/completions"


async def contents(client: AsyncOpenAI, text: str) -> tuple[list[str], Exception | None]:
    """The tokens of a stream, and the error that ended it, if any."""
    tokens: list[str] = []
    try:
        async for chunk in await client.chat.completions.create(model="fs-basic", messages=said(text), stream=True):
            tokens += [content for choice in chunk.choices if (content := choice.delta.content)]
    except Exception as error:  # noqa: BLE001 - which one it is, the test says
        return tokens, error
    return tokens, None


@pytest.mark.parametrize("stream", [False, True])
async def test_before_first_byte_closes_the_connection_with_nothing(client: AsyncOpenAI, stream: bool) -> None:
    """The client gets no status at all."""
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(
            model="fs-basic", messages=said("[[fail=before-first-byte]]"), stream=stream
        )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fail", "error"),
    [
        ("error-400", openai.BadRequestError),
        ("error-401", openai.AuthenticationError),
        ("error-429", openai.RateLimitError),
        ("error-500", openai.InternalServerError),
        ("error-503", openai.InternalServerError),
    ],
)
async def test_errors_have_their_status_before_anything_is_streamed(
    client: AsyncOpenAI, fail: str, error: type[openai.APIStatusError], stream: bool
) -> None:
    """The SDK raises what it raises for OpenAI."""
    with pytest.raises(error) as raised:
        await client.chat.completions.create(model="fs-basic", messages=said(f"[[fail={fail}]]"), stream=stream)
    assert str(raised.value.status_code) == fail[-3:]


async def test_a_429_tells_when_to_come_again(client: AsyncOpenAI) -> None:
    """`Retry-After` is in seconds and can be chosen."""
    with pytest.raises(openai.RateLimitError) as raised:
        await client.chat.completions.create(model="fs-basic", messages=said("[[fail=error-429]] [[retry_after=7]]"))
    assert raised.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("after", [0, 1, 10])
async def test_mid_stream_resets_after_exactly_so_many_tokens(client: AsyncOpenAI, after: int) -> None:
    """The tokens before it arrive, then the connection is gone."""
    tokens, error = await contents(client, f"[[fail=mid-stream]] [[after={after}]]")
    assert len(tokens) == after
    assert error is not None
    assert not isinstance(error, openai.APIStatusError)


async def test_mid_stream_truncates_an_unstreamed_body(http: aiohttp.ClientSession) -> None:
    """Half of the announced body comes, then the connection is gone."""
    async with http.post(PATH, json={**BODY, "messages": said("[[fail=mid-stream]]")}) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_an_error_in_a_stream_is_an_event(client: AsyncOpenAI) -> None:
    """After the tokens an `error` event comes, which the SDK raises."""
    tokens, error = await contents(client, "[[fail=error-in-stream]] [[after=4]]")
    assert len(tokens) == 4
    assert isinstance(error, openai.APIError)
    assert error.code == "server_error"


async def test_a_stream_can_end_without_its_end(client: AsyncOpenAI) -> None:
    """With `no-done` all tokens come and the body ends well, but without reason, usage and `[DONE]`."""
    chunks = await streamed(client, model="fs-basic", messages=said("[[fail=no-done]]"))
    assert len(chunks) == 1 + 32
    assert chunks[-1].choices[0].finish_reason is None


async def test_usage_can_be_missing(client: AsyncOpenAI) -> None:
    """With `no-usage` neither an answer nor a stream that was asked for it tells the usage."""
    messages = said("[[fail=no-usage]]")
    answer = await client.chat.completions.create(model="fs-basic", messages=messages)
    assert answer.usage is None
    options = {"include_usage": True}
    chunks = await streamed(client, model="fs-basic", messages=messages, stream_options=options)
    assert {chunk.usage for chunk in chunks} == {None}
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_garbage_is_a_200_that_is_not_json(client: AsyncOpenAI, http: aiohttp.ClientSession) -> None:
    """The body is not JSON, nor is a stream's event."""
    async with http.post(PATH, json={**BODY, "messages": said("[[fail=garbage]]")}) as response:
        assert response.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(await response.read())
    _, error = await contents(client, "[[fail=garbage]]")
    assert isinstance(error, json.JSONDecodeError)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("directive", ["[[fail=hang]]", "[[latency_ms=60000]]"])
async def test_a_client_that_leaves_a_silent_provider_is_noticed(
    provider: Running, client: AsyncOpenAI, directive: str, stream: bool
) -> None:
    """No byte comes; when the client leaves, that is on record within a second."""
    asking = asyncio.ensure_future(
        client.chat.completions.create(model="fs-basic", messages=said(directive), stream=stream)
    )
    await until(lambda: provider.ledger.counts.open == 1)
    asking.cancel()
    left_s = time.monotonic()
    await until(lambda: provider.ledger.counts.client_cancelled == 1)
    entry = provider.ledger.view(1)["log"][0]
    assert entry["ended_s"] - left_s < 1
    assert (entry["first_byte_s"], entry["status"], entry["tokens_sent"]) == (None, 0, 0)


@pytest.mark.parametrize("directive", ["[[fail=hang-mid-stream]] [[after=5]]", "[[tokens=5000]] [[tps=100]]"])
async def test_a_client_that_leaves_in_mid_stream_is_noticed(
    provider: Running, client: AsyncOpenAI, directive: str
) -> None:
    """When it leaves after five tokens, that is on record within a second, with the tokens sent."""
    stream = await client.chat.completions.create(model="fs-basic", messages=said(directive), stream=True)
    for _ in range(1 + 5):
        await anext(stream)
    assert provider.ledger.counts.open_streams == 1
    await stream.close()
    left_s = time.monotonic()
    await until(lambda: provider.ledger.counts.client_cancelled == 1)
    entry = provider.ledger.view(1)["log"][0]
    assert entry["ended_s"] - left_s < 1
    assert 5 <= entry["tokens_sent"] < 1_000
    assert provider.ledger.counts.open_streams == 0


async def test_a_client_that_leaves_half_an_answer_is_noticed(provider: Running, http: aiohttp.ClientSession) -> None:
    """`hang-mid-stream` without a stream sends half the body and waits for the client to leave."""
    response = await http.post(PATH, json={**BODY, "messages": said("[[fail=hang-mid-stream]]")})
    assert (await response.content.readany()).startswith(b'{"id"')
    assert provider.ledger.counts.open == 1
    response.close()
    await until(lambda: provider.ledger.counts.client_cancelled == 1)


async def test_latency_and_pace_are_kept(provider: Running, client: AsyncOpenAI) -> None:
    """The first byte comes after the latency, and twenty tokens at 100 a second take 190 ms more."""
    directive = "[[latency_ms=150]] [[tokens=20]] [[tps=100]]"
    await streamed(client, model="fs-basic", messages=said(directive))
    entry = provider.ledger.view(1)["log"][0]
    assert 0.15 <= entry["first_byte_s"] - entry["started_s"] < 1
    assert 0.19 <= entry["ended_s"] - entry["first_byte_s"] < 1


async def test_headers_direct_a_single_request(client: AsyncOpenAI) -> None:
    """`X-Provider-*` headers override options, and a directive in the message overrides them."""
    headers = {"X-Provider-Completion-Tokens": "3", "X-Provider-Fail": "error-500"}
    request: dict[str, Any] = {"model": "fs-basic", "extra_headers": headers}
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(messages=HELLO, **request)
    answer = await client.chat.completions.create(messages=said("[[fail=none]]"), **request)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
