"""Providers with habits of their own: what they answer becomes a clear error or a right charge, never a riddle."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from api.gateway.upstream import BODY_BYTES_MAX
from projections.holds import HoldView
from tests.api.gateway.account import Account
from tests.api.gateway.place import models_at, running_place

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
MESSAGE = {"index": 0, "message": {"role": "assistant", "content": "hello you"}, "finish_reason": "stop"}
WHOLE: dict[str, Any] = {"object": "chat.completion", "choices": [MESSAGE], "usage": USAGE}
CHUNK = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hello you"}}]}
SECRET = "sk-upstream-secret"


def sse(*events: Any) -> bytes:
    """A stream of these events and its end."""
    return b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


STREAM = sse(CHUNK, {"choices": [], "usage": USAGE})


class Odd:
    """A client of the odd provider, by way of the product."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def charged(self) -> HoldView:
        """The one hold, once it has ended."""
        (hold,) = await self.account.ended()
        return hold

    async def refused(self, **fields: Any) -> Any:
        """The status and the error of a chat that must cost nothing."""
        answer = await self.account.chat("Hello", **fields)
        assert [(hold.status, hold.cost) for hold in await self.account.ended()] == [("released", 0)]
        assert SECRET.encode() not in answer.body
        return answer.status, answer.error


@asynccontextmanager
async def upstream_at() -> AsyncIterator[tuple[str, list[web.Response]]]:
    """A server on loopback that answers with what is in the list."""
    answers: list[web.Response] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        first = answers[0]
        return web.Response(status=first.status, body=first.body, headers=first.headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", answers
    finally:
        await runner.cleanup()


class Answers:
    """Sets what the provider answers."""

    def __init__(self, odd: Odd, answers: list[web.Response]) -> None:
        self.odd = odd
        self._answers = answers

    def __call__(self, body: Any, *, status: int = 200, media: str = "application/json", **headers: str) -> Odd:
        """From now on; the product's client."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[:] = [web.Response(status=status, body=data, headers={"Content-Type": media, **named})]
        return self.odd


@pytest.fixture
async def provider() -> AsyncIterator[Answers]:
    """A provider whose answers a test writes itself, behind a new account."""
    async with (
        upstream_at() as (base_url, answers),
        running_place(models=lambda running: models_at(running, base_url=base_url, api_key=SECRET)) as place,
    ):
        yield Answers(Odd(await place.account()), answers)


async def test_a_compressed_answer_is_read_and_charged(provider: Answers) -> None:
    """Compressed though nobody asked for it: the client gets it plain, and is charged by its usage."""
    odd = provider(gzip.compress(msgspec.json.encode(WHOLE)), Content_Encoding="gzip")
    answer = await odd.account.chat("Hello")
    assert (answer.status, answer.json) == (200, WHOLE)
    assert "Content-Encoding" not in answer.headers
    assert (await odd.charged()).cost == 19


async def test_a_compressed_stream_is_read_and_charged(provider: Answers) -> None:
    """The same of a stream."""
    odd = provider(gzip.compress(STREAM), media="text/event-stream", Content_Encoding="gzip")
    answer = await odd.account.chat("Hello", stream=True)
    assert b"hello you" in answer.body
    assert answer.body.endswith(b"settlement=settled\n\ndata: [DONE]\n\n")
    assert (await odd.charged()).cost == 19


async def test_a_compressed_bomb_is_bounded(provider: Answers) -> None:
    """A small body that grows beyond the bound is an error as soon as it does."""
    bomb = gzip.compress(b'{"choices":[],"x":"' + b" " * (BODY_BYTES_MAX + 1_000_000) + b'"}')
    status, error = await provider(bomb, Content_Encoding="gzip").refused()
    assert (status, error["code"], error["message"]) == (502, "upstream_error", "The provider's answer is too large.")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [(302, b"", 502), (204, b"", 502), (201, b"{}", 502), (500, b"<html>oops</html>", 502), (404, b"nope", 502)],
)
async def test_what_is_no_completion_is_an_error(provider: Answers, status: int, body: bytes, told: int) -> None:
    """Redirects are not followed, and what says nothing in JSON is an error all the same."""
    answered, error = await provider(body, status=status, media="text/html", Location="http://127.0.0.1:9/").refused()
    assert (answered, error["code"]) == (told, "upstream_error")


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", b"null", b"[]", b"{}", b'{"choices":null}', b'{"choices":{}}', b'{"choices":null,"usage":{}}'],
)
async def test_a_success_without_a_completion_is_an_error(provider: Answers, body: bytes) -> None:
    """A status of 200 alone is not charged."""
    status, error = await provider(body).refused()
    assert (status, error["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "body", [{"error": {"message": "no room"}, "choices": []}, {"object": "error", "message": "no room", "code": 400}]
)
async def test_an_error_under_a_status_of_success(provider: Answers, body: Any, stream: bool) -> None:
    """An error is one also where its status says otherwise, whole or as an event, and keeps its message."""
    odd = provider(sse(body), media="text/event-stream") if stream else provider(body)
    status, error = await odd.refused(stream=stream)
    assert (status, error["code"], error["message"]) == (502, "upstream_error", "no room")


async def test_an_error_in_the_midst_of_a_stream(provider: Answers) -> None:
    """What was delivered is charged, and the client hears that there is no more."""
    odd = provider(sse(CHUNK, {"object": "error", "message": "no room"}), media="text/event-stream")
    answer = await odd.account.chat("Hello", stream=True)
    assert b"no room" in answer.body
    assert b"[DONE]" not in answer.body
    usage = (await odd.charged()).usage
    assert usage is not None
    assert (usage.source, usage.output) == ("estimated", 3)


@pytest.mark.parametrize(
    ("body", "code", "message", "param"),
    [
        ({"error": "too long"}, "upstream_rejected", "too long", None),
        ({"detail": "too long"}, "upstream_rejected", "too long", None),
        ({"detail": [{"loc": ["n"], "msg": "bad"}]}, "upstream_rejected", '[{"loc":["n"],"msg":"bad"}]', None),
        ({"message": "too long", "object": "error"}, "upstream_rejected", "too long", None),
        ({"error": {"message": "too long", "param": ["n"], "code": 7}}, "upstream_rejected", "too long", None),
        ({"error": {"message": "x", "code": "context_length_exceeded"}}, "context_length_exceeded", "x", None),
        ({"error": {"message": "x", "code": "insufficient_credits"}}, "upstream_insufficient_credits", "x", None),
        ({"error": {"message": "x", "code": "upstream_error"}}, "upstream_upstream_error", "x", None),
        ({"error": {"message": f"key {SECRET}", "param": SECRET}}, "upstream_rejected", "key ***", "***"),
        (b"<html>", "upstream_rejected", "The provider refused the request.", None),
        (b'["too long"]', "upstream_rejected", '["too long"]', None),
    ],
)
async def test_refusals_keep_their_message(
    provider: Answers, body: Any, code: str, message: str, param: str | None
) -> None:
    """Whatever habit a provider has of saying why, its client reads it; codes of ours are not the provider's to use."""
    status, error = await provider(body, status=400).refused()
    assert (status, error["code"], error["message"], error["param"]) == (400, code, message, param)
    assert error["type"] == "invalid_request_error"


async def test_a_stream_that_nobody_asked_for_is_charged_once(provider: Answers) -> None:
    """It is passed on as what it is."""
    odd = provider(STREAM, media="text/event-stream")
    answer = await odd.account.chat("Hello")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert (await odd.charged()).cost == 19


async def test_a_whole_answer_to_a_stream_is_charged_once(provider: Answers) -> None:
    """It is passed on as what it is."""
    odd = provider(WHOLE)
    answer = await odd.account.chat("Hello", stream=True)
    assert (answer.status, answer.headers["Content-Type"], answer.json) == (200, "application/json", WHOLE)
    assert (await odd.charged()).cost == 19


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 0, "completion_tokens": 0}, USAGE | {"completion_tokens": 0, "total_tokens": 7}]
)
async def test_text_is_never_free_of_tokens(provider: Answers, usage: Any, stream: bool) -> None:
    """A usage of nothing beside delivered text is not believed."""
    events = sse(CHUNK, {"choices": [], "usage": usage})
    odd = provider(events, media="text/event-stream") if stream else provider(WHOLE | {"usage": usage})
    assert (await odd.account.chat("Hello", stream=stream)).status == 200
    told = (await odd.charged()).usage
    assert told is not None
    assert (told.source, told.output) == ("estimated", 3)
    assert told.input > 0


@pytest.mark.parametrize("ending", [sse(), b"", b'data: {"error": {"message": "overloaded"}}\n\n'])
async def test_a_usage_that_was_told_too_early_is_not_all(provider: Answers, ending: bytes) -> None:
    """Some tell it with the first chunk, or now and then: what was delivered after it is counted, however it ends."""
    early = {"prompt_tokens": 7, "completion_tokens": 1}
    events = sse(CHUNK | {"usage": early}, *[CHUNK] * 9).removesuffix(sse())
    odd = provider(events + ending, media="text/event-stream")
    assert (await odd.account.chat("Hello", stream=True)).status == 200
    told = (await odd.charged()).usage
    assert told is not None
    # Ten times nine bytes; of the prompt the provider's own count stands.
    assert (told.source, told.input, told.output) == ("estimated", 7, 23)


async def test_a_usage_that_grows_with_every_chunk_is_the_providers_own(provider: Answers) -> None:
    """The last one is told with the last text, whatever we would have counted."""
    events = [CHUNK | {"usage": USAGE | {"completion_tokens": number}} for number in (1, 2, 3)]
    odd = provider(
        sse(*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}), media="text/event-stream"
    )
    assert (await odd.account.chat("Hello", stream=True)).status == 200
    assert (await odd.charged()).cost == 19
