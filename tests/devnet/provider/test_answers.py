"""What the provider answers: texts, bounds, usage, several choices, log probabilities, models."""

import asyncio
from typing import Any

import aiohttp
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from devnet.provider import Running
from devnet.provider.prompt import tokens_of

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
BODY = {"model": "fs-basic", "messages": HELLO}


def said(text: str) -> list[ChatCompletionMessageParam]:
    """One user message."""
    return [{"role": "user", "content": text}]


async def streamed(client: AsyncOpenAI, **request: Any) -> list[ChatCompletionChunk]:
    """All chunks of a stream."""
    return [chunk async for chunk in await client.chat.completions.create(stream=True, **request)]


async def test_an_answer_has_text_usage_and_the_fields_that_openai_gives(client: AsyncOpenAI) -> None:
    """A plain request gets 32 tokens of text, counted in the usage, with `refusal` and `logprobs` null."""
    answer = await client.chat.completions.create(model="fs-basic", messages=HELLO)
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.message.refusal is None
    assert choice.logprobs is None
    assert len(tokens_of(choice.message.content or "")) == 32
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 32)
    assert answer.usage.total_tokens == 41
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


async def test_the_same_request_has_the_same_bytes(http: aiohttp.ClientSession) -> None:
    """Nothing in a body is random or tells the time; another message gets another answer."""
    bodies = []
    for stream in (False, False, True, True):
        async with http.post("/v1/chat/completions", json={**BODY, "stream": stream, "seed": 1}) as response:
            bodies.append(await response.read())
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]
    async with http.post("/v1/chat/completions", json={**BODY, "messages": said("Bye")}) as response:
        assert await response.read() != bodies[0]


async def test_a_stream_says_the_same_as_the_answer_one_token_a_chunk(client: AsyncOpenAI) -> None:
    """The contents of the chunks are the tokens of the unstreamed text; the id is the same in each of them."""
    answer = await client.chat.completions.create(model="fs-basic", messages=HELLO)
    chunks = await streamed(client, model="fs-basic", messages=HELLO)
    assert chunks[0].choices[0].delta.role == "assistant"
    contents = [chunk.choices[0].delta.content for chunk in chunks[1:-1]]
    assert contents == tokens_of(answer.choices[0].message.content or "")
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {answer.id}
    assert {chunk.usage for chunk in chunks} == {None}


async def test_a_stream_tells_its_usage_in_a_last_chunk_when_asked(client: AsyncOpenAI) -> None:
    """With `include_usage` a chunk without choices comes last, with the usage of the unstreamed answer."""
    answer = await client.chat.completions.create(model="fs-basic", messages=HELLO)
    options = {"include_usage": True}
    chunks = await streamed(client, model="fs-basic", messages=HELLO, stream_options=options)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_the_bytes_of_a_stream_are_events_that_end_with_done(http: aiohttp.ClientSession) -> None:
    """Each token is an event of its own, and `[DONE]` ends the stream, as Server-Sent Events write it."""
    async with http.post("/v1/chat/completions", json={**BODY, "stream": True, "max_tokens": 5}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = (await response.text()).split("\n\n")
    assert all(event.startswith("data: {") for event in events[:-2])
    assert events[-2:] == ["data: [DONE]", ""]
    assert len(events[:-2]) == 1 + 5 + 1


async def test_max_tokens_cuts_under_either_name(client: AsyncOpenAI) -> None:
    """The answer has exactly so many tokens and ends with `length`, streamed or not."""
    for bound in ("max_tokens", "max_completion_tokens"):
        request: dict[str, Any] = {"model": "fs-basic", "messages": HELLO, bound: 7}
        answer = await client.chat.completions.create(**request)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 7
        assert answer.choices[0].finish_reason == "length"
        chunks = await streamed(client, **request)
        assert len(chunks) == 1 + 7 + 1
        assert chunks[-1].choices[0].finish_reason == "length"


async def test_a_text_that_just_fits_is_not_cut(client: AsyncOpenAI) -> None:
    """As many tokens as allowed is a natural end, one more is not."""
    for allowed, reason in ((32, "stop"), (31, "length")):
        answer = await client.chat.completions.create(model="fs-basic", messages=HELLO, max_tokens=allowed)
        assert answer.choices[0].finish_reason == reason


async def test_a_stop_sequence_ends_the_text_before_it(client: AsyncOpenAI) -> None:
    """The text ends before the first of the sequences, with `stop`, and only what is left is counted."""
    whole = (await client.chat.completions.create(model="fs-basic", messages=HELLO)).choices[0].message.content
    assert whole is not None
    stops: list[str | list[str]] = [whole[20:25], ["not in it", whole[40:44], whole[20:25]]]
    for stop in stops:
        answer = await client.chat.completions.create(model="fs-basic", messages=HELLO, stop=stop)
        assert answer.choices[0].message.content == whole[:20]
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5


async def test_n_choices_differ_and_are_all_counted(client: AsyncOpenAI) -> None:
    """Three choices have three texts; streamed they take turns and say the same; usage counts all."""
    request: dict[str, Any] = {"model": "fs-basic", "messages": HELLO, "n": 3, "max_tokens": 8}
    answer = await client.chat.completions.create(**request)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    joined = ["", "", ""]
    turns = []
    for chunk in await streamed(client, **request):
        choice = chunk.choices[0]
        joined[choice.index] += choice.delta.content or ""
        turns += [choice.index] if choice.delta.content else []
    assert joined == texts
    assert turns == [0, 1, 2] * 8


async def test_logprobs_come_when_asked(client: AsyncOpenAI) -> None:
    """Each token has a log probability and as many alternatives as asked for, streamed or not."""
    request: dict[str, Any] = {"model": "fs-basic", "messages": HELLO, "max_tokens": 4}
    request |= {"logprobs": True, "top_logprobs": 2}
    answer = await client.chat.completions.create(**request)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(each.token for each in logprobs.content) == answer.choices[0].message.content
    assert {len(each.top_logprobs) for each in logprobs.content} == {2}
    told = [chunk.choices[0].logprobs for chunk in await streamed(client, **request)]
    assert [each.content[0].token for each in told if each and each.content] == [
        each.token for each in logprobs.content
    ]


async def test_length_and_reasoning_can_be_chosen_in_the_message(client: AsyncOpenAI) -> None:
    """`[[tokens=N]]` is the text's length; reasoning is counted, not shown."""
    answer = await client.chat.completions.create(
        model="fs-basic", messages=said("Long [[tokens=500]] [[reasoning=40]]")
    )
    assert len(tokens_of(answer.choices[0].message.content or "")) == 500
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 540
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 40


async def test_only_the_last_user_message_directs(client: AsyncOpenAI) -> None:
    """A directive of an earlier turn, or of the assistant, has no effect; nor has a name that is none."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "[[tokens=3]]"},
        {"role": "assistant", "content": "[[tokens=4]]"},
        {"role": "user", "content": "see [[colour=red]] and a[[0]]"},
    ]
    answer = await client.chat.completions.create(model="fs-basic", messages=messages)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 32


async def test_a_repeated_prefix_of_messages_is_cached(client: AsyncOpenAI) -> None:
    """From 1,024 tokens on, the messages that an earlier request began with count as cached, in steps of 128."""
    system: ChatCompletionMessageParam = {"role": "system", "content": "x" * 4 * 1_500}
    cached = []
    for text in ("one", "two", "two"):
        messages = [system, *said(text)]
        answer = await client.chat.completions.create(model="fs-basic", messages=messages)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert cached == [0, 1_408, 1_408]


async def test_cached_tokens_can_be_chosen(client: AsyncOpenAI) -> None:
    """`[[cached=N]]` is reported as it is, but never more than the prompt; `[[cache_min=0]]` counts exactly."""
    cached = []
    for text in ("a [[cached=5]]", "b [[cached=5000]]", "c [[cache_min=0]]", "c [[cache_min=0]]"):
        answer = await client.chat.completions.create(model="fs-basic", messages=said(text))
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append((answer.usage.prompt_tokens_details.cached_tokens, answer.usage.prompt_tokens))
    assert cached == [(5, 10), (11, 11), (0, 11), (8, 11)]


async def test_models_are_listed_and_fetched(client: AsyncOpenAI) -> None:
    """The list has the basic model first; each can be fetched by its name."""
    assert [model.id async for model in client.models.list()] == ["fs-basic", "fs-advanced"]
    assert (await client.models.retrieve("fs-advanced")).object == "model"


async def test_the_synchronous_sdk_works_as_well(provider: Running) -> None:
    """The blocking client gets the same answer, streamed and not."""

    def ask() -> tuple[str | None, str]:
        with OpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            answer = client.chat.completions.create(model="fs-basic", messages=HELLO)
            chunks = client.chat.completions.create(model="fs-basic", messages=HELLO, stream=True)
            return answer.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in chunks)

    whole, joined = await asyncio.to_thread(ask)
    assert whole == joined


async def test_contents_in_parts_are_counted(client: AsyncOpenAI) -> None:
    """Text parts count as their text, an image 85 tokens, an earlier call its name and arguments."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    messages: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "12345678"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    answer = await client.chat.completions.create(model="fs-basic", messages=messages)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == (3 + 2 + 85) + (3 + 1 + 2) + (3 + 1) + 3
