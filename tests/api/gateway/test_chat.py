"""Chat completions that are not streamed: through the official SDK and as raw HTTP, charged to the micro-credit."""

import asyncio
from typing import Any

import openai
import pytest

from domain.money import format_credits
from tests.api.gateway.account import Account
from tests.api.gateway.place import Place, models_at, running_place

MICRO = 1_000_000


def price_of(prompt: int, completion: int, cached: int = 0) -> int:
    """What the basic model costs, in micro-credits: 1, 0.1 and 4 credits per million tokens."""
    tenths = (prompt - cached) * 10 + cached + completion * 40
    return -(-tenths // 10)


async def charged(account: Account) -> int:
    """What has gone from a balance of ten credits."""
    return 10 * MICRO - (await account.credits()).balance


async def test_the_sdk_gets_the_providers_bytes_and_pays_for_its_tokens(place: Place) -> None:
    """The charge equals reported tokens times price; headers, hold, balance and usage say the same."""
    account = await place.account()
    raw = await account.client().chat.completions.with_raw_response.create(
        model="fs-basic", messages=[{"role": "user", "content": "Hello there"}], max_tokens=50
    )
    answer = raw.parse()
    assert answer.usage is not None
    cost = price_of(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert raw.headers["x-credits-cost"] == format_credits(cost)
    assert raw.headers["x-settlement"] == "settled"
    assert raw.headers["x-request-id"]
    assert raw.headers["x-credits-remaining"] == format_credits(10 * MICRO - cost)
    assert await charged(account) == cost
    (hold,) = await account.holds()
    assert (hold.status, hold.cost, hold.model) == ("settled", cost, "fs-basic")
    assert hold.usage is not None
    assert hold.usage.source == "provider"


async def test_the_body_is_the_providers_own(place: Place) -> None:
    """Not a byte of a provider's answer is touched."""
    account = await place.account()
    body = b'{"model":"fs-basic","messages":[{"role":"user","content":"same"}],"logprobs":true,"seed":5}'
    ours = await account.post(body)
    async with place.http.post(
        f"{place.provider.base_url}/chat/completions", data=body, headers={"Content-Type": "application/json"}
    ) as theirs:
        assert ours.body == await theirs.read()


async def test_cached_and_reasoning_tokens_have_their_prices(place: Place) -> None:
    """Cached tokens cost a tenth, reasoning costs as output does; the buckets do not overlap."""
    account = await place.account()
    answer = await account.chat("x" * 400 + " [[cached=64]] [[reasoning=9]] [[tokens=5]]")
    usage = answer.json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 64
    (hold,) = await account.holds()
    assert hold.cost == price_of(usage["prompt_tokens"], usage["completion_tokens"], cached=64)
    assert hold.usage is not None
    assert (hold.usage.cached, hold.usage.reasoning, hold.usage.output) == (64, 9, 5)


async def test_a_missing_usage_is_estimated(place: Place) -> None:
    """Without the provider's counts the delivered text is counted, and the record says so."""
    account = await place.account()
    answer = await account.chat("Hello [[fail=no-usage]] [[tokens=40]]")
    assert answer.status == 200
    (hold,) = await account.holds()
    assert hold.usage is not None
    assert hold.usage.source == "estimated"
    assert hold.usage.output == 40
    assert await charged(account) == hold.cost > 0


@pytest.mark.parametrize(
    ("fail", "status", "code"),
    [
        ("before-first-byte", 502, "upstream_error"),
        ("mid-stream", 502, "upstream_error"),
        ("error-500", 502, "upstream_error"),
        ("error-503", 503, "upstream_unavailable"),
        ("error-401", 502, "upstream_error"),
        ("error-400", 400, "invalid_value"),
        ("garbage", 502, "upstream_error"),
    ],
)
async def test_a_provider_that_fails_costs_nothing(place: Place, fail: str, status: int, code: str) -> None:
    """Each failure has its error, releases the hold and charges nothing."""
    account = await place.account()
    answer = await account.chat(f"Hello [[fail={fail}]]")
    assert (answer.status, answer.error["code"]) == (status, code)
    (hold,) = await account.ended()
    assert (hold.status, hold.cost) == ("released", 0)
    assert await charged(account) == 0
    await place.left()


async def test_too_many_requests_upstream_are_told_with_their_patience(place: Place) -> None:
    """A provider's 429 passes on with its Retry-After, which here is longer than we wait."""
    account = await place.account()
    answer = await account.chat("Hello [[fail=error-429]] [[retry_after=30]]")
    assert (answer.status, answer.error["code"]) == (429, "upstream_rate_limited")
    assert answer.headers["Retry-After"] == "30"
    assert place.provider.ledger.counts.started == 1
    (hold,) = await account.ended()
    assert hold.status == "released"


@pytest.mark.parametrize("fail", ["hang", "hang-mid-stream"])
async def test_a_provider_that_hangs_is_left_in_time(fail: str) -> None:
    """The time limit ends the call with 504, the hold is released and the provider's connection closed."""
    async with running_place(models=lambda provider: models_at(provider, timeout_s=0.3)) as place:
        account = await place.account()
        answer = await account.chat(f"Hello [[fail={fail}]]")
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        (hold,) = await account.ended()
        assert (hold.status, hold.cost) == ("released", 0)
        await place.left()


async def test_a_client_that_leaves_ends_the_call(place: Place) -> None:
    """Nobody waits for the answer any more: the provider is left within a second and nothing is charged."""
    account = await place.account()
    with pytest.raises(openai.APITimeoutError):
        await account.client(timeout=0.2).chat.completions.create(
            model="fs-basic", messages=[{"role": "user", "content": "Hello [[fail=hang]]"}]
        )
    await place.left()
    assert place.provider.ledger.counts.client_cancelled == 1
    (hold,) = await account.ended()
    assert (hold.status, hold.cost) == ("released", 0)


async def test_too_few_credits_are_refused_before_the_provider_is_called(place: Place) -> None:
    """A `max_tokens` that cannot be paid for is 402 with what is missing, and no provider is called."""
    account = await place.account("0.001")
    answer = await account.chat("Hello", max_tokens=4_000)
    assert (answer.status, answer.error["code"]) == (402, "insufficient_credits")
    assert answer.error["type"] == "insufficient_quota"
    assert answer.error["available"] == "0.001000"
    assert place.provider.ledger.counts.started == 0
    assert await account.holds() == []


async def test_without_credits_nothing_is_done(place: Place) -> None:
    """An empty account is refused in OpenAI's shape."""
    account = await place.account("0")
    with pytest.raises(openai.APIStatusError) as refused:
        await account.client().chat.completions.create(model="fs-basic", messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.status_code == 402


async def test_output_is_cut_to_what_is_affordable(place: Place) -> None:
    """Without a `max_tokens` of its own a request gets as much output as the credits pay for, and never more."""
    account = await place.account("0.000300")
    answer = await account.chat("Hello [[tokens=4000]]")
    assert answer.status == 200
    assert answer.json["choices"][0]["finish_reason"] == "length"
    credits = await account.credits()
    assert (credits.held, credits.debt) == (0, 0)
    assert 0 <= credits.balance < 300


async def test_free_models_hold_nothing(place: Place) -> None:
    """A model that is free works without credits and costs nothing, on record."""
    account = await place.account("0")
    answer = await account.chat("Hello", model="free")
    assert answer.status == 200
    assert answer.headers["X-Credits-Cost"] == "0.000000"
    (hold,) = await account.ended()
    assert (hold.amount, hold.cost, hold.status) == (0, 0, "settled")


async def test_unknown_and_unpriced_models_are_refused(place: Place) -> None:
    """An unknown model is 404 in OpenAI's words, one without a price is never counted as free."""
    account = await place.account()
    with pytest.raises(openai.NotFoundError) as unknown:
        await account.client().chat.completions.create(model="gpt-x", messages=[{"role": "user", "content": "Hi"}])
    assert unknown.value.code == "model_not_found"
    assert unknown.value.param == "model"
    unpriced = await account.chat("Hello", model="unpriced")
    assert (unpriced.status, unpriced.error["code"]) == (403, "model_unpriced")
    assert await account.holds() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
                }
            ]
        },
    ],
)
async def test_audio_without_a_price_is_refused(place: Place, fields: dict[str, Any]) -> None:
    """Sound that is sent or asked for costs many times as much as text: without a price for it nothing is called."""
    account = await place.account()
    before = place.provider.ledger.counts.started
    answer = await account.chat("Hello", **fields)
    assert (answer.status, answer.error["code"]) == (403, "audio_unpriced")
    assert (await account.holds(), place.provider.ledger.counts.started) == ([], before)
    priced = await account.chat("Hello", **{"model": "audible"} | fields)
    assert priced.status == 200
    (hold,) = await account.ended()
    assert hold.amount >= 4_096 * 80, "all of the answer may be sound"


async def test_test_keys_never_spend_and_reach_built_in_models_only(place: Place) -> None:
    """A key of mode `test` works without credits, is on record at the price `test`, and cannot leave the house."""
    account = await place.account("0", mode="test")
    answer = await account.chat("Hello")
    assert answer.status == 200
    (hold,) = await account.ended()
    assert (hold.cost, hold.price_version) == (0, "test")
    foreign = await account.chat("Hello", model="foreign")
    assert (foreign.status, foreign.error["code"]) == (404, "model_not_found")
    models = await account.client().models.list()
    assert "foreign" not in [model.id for model in models.data]


async def test_many_clients_never_overdraw_one_balance() -> None:
    """Fifty at once, on two APIs and a balance for a few: nothing below zero, and each paid answer has its charge."""
    async with running_place(apis=2) as place:
        account = await place.account("0.001")
        answers = await asyncio.gather(*(account.chat(f"Hello {i}", max_tokens=32, api=i % 2) for i in range(50)))
        paid = [answer for answer in answers if answer.status == 200]
        assert {answer.status for answer in answers} == {200, 402}
        await account.ended(len(paid))
        credits = await account.credits()
        assert (credits.held, credits.debt) == (0, 0)
        assert credits.balance == 1_000 - sum(price_of(_prompt(a.json), 32) for a in paid)


def _prompt(completion: dict[str, dict[str, int]]) -> int:
    return completion["usage"]["prompt_tokens"]


async def test_models_are_listed_in_both_shapes(place: Place) -> None:
    """OpenAI's shape for SDKs, prices for people; an unpriced model says so."""
    account = await place.account()
    client = account.client()
    assert [model.id for model in (await client.models.list()).data][:2] == ["fs-basic", "fs-advanced"]
    assert (await client.models.retrieve("fs-basic")).id == "fs-basic"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")
    bearer = {"Authorization": f"Bearer {account.key}"}
    async with place.http.get(f"{place.url}/api/models", headers=bearer) as response:
        listed = {model["id"]: model for model in (await response.json())["data"]}
    assert listed["fs-basic"]["price"]["cached_input"] == "0.100000"
    assert listed["unpriced"]["price"] is None
    async with place.http.get(f"{place.url}/api/models/fs-basic", headers=bearer) as response:
        assert (await response.json())["context"] == 32_768
