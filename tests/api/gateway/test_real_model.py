"""A real language model behind the gateway: its own tokens, its own streams, charged to the micro-credit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletionMessageParam

from api.llm_models import LlmModels, load_llm_models
from devnet.local_model import MODEL, start_local_model
from devnet.provider import Running
from domain.money import format_credits
from tests.api.gateway.place import Place, models_at, running_place, with_models

pytestmark = pytest.mark.model
CONTEXT = 2_048
MODELS_FILE = """
[models."{model}"]
provider = "openai_compatible"
base_url = "{base_url}"
context = {context}
max_output = 256
input = "1"
cached_input = "0.1"
output = "4"
built_in = true
"""
Messages = list[ChatCompletionMessageParam]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """The product with the real model beside the built-in ones."""
    local = await asyncio.to_thread(start_local_model, log=tmp_path / "log")
    file = tmp_path / "models.toml"
    file.write_text(MODELS_FILE.format(model=MODEL, base_url=local.base_url, context=CONTEXT))

    def models(provider: Running) -> LlmModels:
        return with_models(models_at(provider), *load_llm_models(file).values())

    try:
        async with running_place(models=models) as started:
            yield started
    finally:
        await asyncio.to_thread(local.stop)


async def test_a_conversation_costs_its_reported_tokens(place: Place) -> None:
    """The official SDK talks in turns, streamed and not; each charge is the reported tokens times the price."""
    account = await place.account()
    client = account.client(timeout=60)
    messages: Messages = [{"role": "user", "content": "What is the capital of France?"}]
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=messages, max_tokens=16)
    first = raw.parse()
    assert first.choices[0].message.content
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And of Italy?"},
    ]
    stream = await client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=16, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    second, spent = chunks[-1].usage, 0
    for usage in (first.usage, second):
        assert usage is not None
        details = usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details is not None else 0
        tenths = (usage.prompt_tokens - cached) * 10 + cached + usage.completion_tokens * 40
        spent += -(-tenths // 10)
    assert (await account.credits()).balance == 10_000_000 - spent
    holds = await account.holds()
    assert raw.headers["x-credits-cost"] == format_credits(holds[-1].cost)
    assert {hold.usage.source for hold in holds if hold.usage is not None} == {"provider"}


async def test_more_than_its_context_is_refused_and_free(place: Place) -> None:
    """A prompt that does not fit is 400 `context_length_exceeded`, as at OpenAI."""
    account = await place.account()
    answer = await account.chat("word " * (2 * CONTEXT), model=MODEL)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert (await account.credits()).balance == 10_000_000
