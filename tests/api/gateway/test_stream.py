"""Streamed answers: passed on as they are, charged for what was delivered on every way in which they end."""

import asyncio
import time
from typing import Any

import openai
import pytest

from domain.money import format_credits
from projections.holds import HoldView
from tests.api.gateway.account import BOUND_S, Account, Answer, until
from tests.api.gateway.place import Place, models_at, running_place


def events(answer: Answer) -> list[bytes]:
    """The events of a stream that was read whole."""
    return [event for event in answer.body.split(b"\n\n") if event]


async def streamed(account: Account, text: str, **fields: Any) -> Answer:
    """A whole stream, as raw HTTP."""
    return await account.chat(text, stream=True, **fields)


async def test_a_stream_is_passed_on_and_tells_its_cost(place: Place) -> None:
    """All but the comment before `[DONE]` are the provider's bytes; the comment agrees with the hold."""
    account = await place.account()
    answer = await streamed(account, "Hello", stream_options={"include_usage": True})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    *passed, comment, done = events(answer)
    body = {"model": "fs-basic", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    async with place.http.post(f"{place.provider.base_url}/chat/completions", json=body) as theirs:
        assert b"\n\n".join([*passed, done, b""]) == await theirs.read()
    (hold,) = await account.holds()
    assert hold.usage is not None
    assert hold.usage.source == "provider"
    remaining = format_credits(10_000_000 - hold.cost)
    assert comment.decode() == f": cost={format_credits(hold.cost)} remaining={remaining} settlement=settled"
    assert done == b"data: [DONE]"


async def test_a_usage_that_was_not_asked_for_is_not_shown(place: Place) -> None:
    """The provider is asked for the usage all the same, and billed by; the client sees what it asked for."""
    account = await place.account()
    answer = await streamed(account, "Hello")
    assert b'"usage":{' not in answer.body
    (hold,) = await account.holds()
    assert hold.usage is not None
    assert hold.usage.source == "provider"


async def test_the_sdk_streams(place: Place) -> None:
    """The official SDK reads content, usage and the end, and stumbles over nothing."""
    account = await place.account()
    stream = await account.client().chat.completions.create(
        model="fs-basic",
        messages=[{"role": "user", "content": "Hello [[tokens=12]]"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)) == 48
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12


async def test_chunks_arrive_while_the_provider_still_speaks(place: Place) -> None:
    """Nothing is held back: the first chunk is there long before the last."""
    account = await place.account()
    stream = await account.client().chat.completions.create(
        model="fs-basic",
        messages=[{"role": "user", "content": "Hello [[tokens=10]] [[tps=20]]"}],
        stream=True,
    )
    arrived = [time.monotonic() async for _ in stream]
    assert arrived[-1] - arrived[0] > 0.3


@pytest.mark.parametrize("fail", ["mid-stream", "error-in-stream", "no-done"])
async def test_a_stream_that_breaks_off_ends_with_an_error_and_its_charge(place: Place, fail: str) -> None:
    """The client hears an error, is told the cost, and pays for what was delivered, as counted by us."""
    account = await place.account()
    answer = await streamed(account, f"Hello [[tokens=20]] [[after=5]] [[fail={fail}]]")
    assert answer.status == 200
    (hold,) = await account.ended()
    assert hold.status == "settled"
    assert hold.usage is not None
    if fail == "no-done":
        assert hold.usage.output == 20
    else:
        assert hold.usage.output == 5
    assert hold.usage.source == "estimated"
    comment, error = events(answer)[-2:]
    assert format_credits(hold.cost).encode() in comment
    assert error.startswith(b'data: {"error":{')
    await place.left()


async def test_the_sdk_hears_of_an_error_in_a_stream(place: Place) -> None:
    """An error event is an exception of the SDK, never an answer that just stops."""
    account = await place.account()
    stream = await account.client().chat.completions.create(
        model="fs-basic",
        messages=[{"role": "user", "content": "Hello [[tokens=20]] [[after=5]] [[fail=error-in-stream]]"}],
        stream=True,
    )
    with pytest.raises(openai.APIError, match="error while processing"):
        async for _ in stream:
            pass


async def test_a_stream_without_usage_is_estimated(place: Place) -> None:
    """A complete stream without counts is charged by its chunks."""
    account = await place.account()
    answer = await streamed(account, "Hello [[tokens=30]] [[fail=no-usage]]")
    assert answer.body.endswith(b"data: [DONE]\n\n")
    (hold,) = await account.ended()
    assert hold.usage is not None
    assert (hold.usage.source, hold.usage.output) == ("estimated", 30)


@pytest.mark.parametrize(
    ("fail", "status"),
    [("before-first-byte", 502), ("error-500", 502), ("error-429", 429), ("error-400", 400), ("garbage", 502)],
)
async def test_failures_before_the_first_byte_are_plain_errors(place: Place, fail: str, status: int) -> None:
    """As long as nothing was sent the answer has its proper status, and nothing is charged."""
    account = await place.account()
    answer = await streamed(account, f"Hello [[retry_after=30]] [[fail={fail}]]")
    assert answer.status == status
    assert answer.error["code"]
    (hold,) = await account.ended()
    assert (hold.status, hold.cost) == ("released", 0)
    await place.left()


@pytest.mark.parametrize(("fail", "output"), [("hang", 0), ("hang-mid-stream", 5)])
async def test_silence_is_not_waited_for_for_ever(fail: str, output: int) -> None:
    """A provider that falls silent is left in time; in mid-stream what was delivered is charged."""
    async with running_place(models=lambda p: models_at(p, first_byte_timeout_s=0.3)) as place:
        account = await place.account()
        answer = await streamed(account, f"Hello [[tokens=20]] [[after=5]] [[fail={fail}]]")
        (hold,) = await account.ended()
        if output:
            assert b'"code":"upstream_timeout"' in events(answer)[-1]
            assert hold.usage is not None
            assert (hold.status, hold.usage.output) == ("settled", output)
        else:
            assert (answer.status, hold.status) == (504, "released")
        await place.left()


async def leave_after(account: Account, chunks: int, text: str, **headers: str) -> None:
    """A client that closes its connection after so many chunks."""
    stream = await account.client().chat.completions.create(
        model="fs-basic", messages=[{"role": "user", "content": text}], stream=True, extra_headers=headers
    )
    async for _ in stream:
        chunks -= 1
        if chunks == 0:
            break
    await stream.close()


@pytest.mark.parametrize("text", ["[[tokens=1000]] [[tps=50]]", "[[tokens=1000]] [[after=5]] [[fail=hang-mid-stream]]"])
async def test_a_client_that_leaves_pays_for_what_was_delivered(place: Place, text: str) -> None:
    """Whether the provider speaks or is silent, it is left within a second, and the delivered part is charged."""
    account = await place.account()
    await leave_after(account, 4, text)
    await place.left()
    assert place.provider.ledger.counts.client_cancelled == 1
    (hold,) = await account.ended()
    assert hold.status == "settled"
    assert hold.usage is not None
    assert hold.usage.source == "estimated"
    assert 3 <= hold.usage.output < 100
    assert (await account.credits()).balance == 10_000_000 - hold.cost


async def test_a_client_that_leaves_before_the_first_byte_pays_nothing(place: Place) -> None:
    """Nothing was delivered, so nothing is charged."""
    account = await place.account()
    with pytest.raises(openai.APITimeoutError):
        await account.client(timeout=0.2).chat.completions.create(
            model="fs-basic", messages=[{"role": "user", "content": "[[latency_ms=60000]]"}], stream=True
        )
    await place.left()
    (hold,) = await account.ended()
    assert (hold.status, hold.cost) == ("released", 0)


async def test_long_streams_report_their_progress(place: Place) -> None:
    """After a second the hold says what was delivered, so that it can be charged if this process dies."""
    account = await place.account()
    reading = asyncio.create_task(leave_after(account, 10_000, "[[tokens=60]] [[tps=40]]"))

    async def reported() -> HoldView | None:
        return next((hold for hold in await account.holds() if hold.usage is not None), None)

    async def is_reported() -> bool:
        return await reported() is not None

    await until(is_reported)
    hold = await reported()
    assert hold is not None
    assert hold.status == "open"
    assert hold.usage is not None
    assert hold.usage.source == "estimated"
    assert hold.usage.output > 10
    await reading
    assert place.log.count("hold.progress") == 1


async def test_an_unacknowledged_settle_ends_the_stream_with_an_error(place: Place, monkeypatch: Any) -> None:
    """The charge that the log did not confirm is sent again until it does; the client is told."""
    monkeypatch.setattr("api.gateway.metering.ACK_S", 0.2)
    account = await place.account()
    lost = True
    place.log.lose = lambda record: lost and b'"hold.settle"' in record
    answer = await streamed(account, "Hello")
    assert b'"code":"settlement_unknown"' in events(answer)[-1]
    assert b"settlement=pending" in events(answer)[-2]
    lost = False
    (hold,) = await account.ended()
    assert hold.status == "settled"
    assert hold.cost > 0


async def test_stopping_the_server_settles_open_streams() -> None:
    """A process that is asked to stop charges what its streams have delivered."""
    async with running_place() as place:
        account = await place.account()
        reading = asyncio.create_task(leave_after(account, 10_000, "[[tokens=1000]] [[tps=50]]"))

        async def flowing() -> bool:
            return place.provider.ledger.counts.tokens_sent > 5

        await until(flowing)
    await asyncio.wait([reading], timeout=BOUND_S)
    assert reading.exception() is not None
    (hold,) = await account.holds()
    assert hold.status == "settled"
    assert hold.usage is not None
    assert hold.usage.output > 0
