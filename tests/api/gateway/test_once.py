"""One effect for one `Idempotency-Key`: one call, one charge, one answer."""

import asyncio
from typing import Any

import msgspec
import pytest

from api.gateway import answers, once
from domain.instant import DAY
from tests.api.gateway.account import Account, Answer, until
from tests.api.gateway.place import Place, running_place


async def keyed(account: Account, text: str, key: str = "k", **fields: Any) -> Answer:
    """A request under a key."""
    return await account.chat(text, headers={"Idempotency-Key": key}, **fields)


def spent(answer: Answer) -> dict[str, str]:
    """The headers about money."""
    return {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("x-credits")}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeat_gets_the_same_answer_and_is_not_charged(place: Place, stream: bool) -> None:
    """The same bytes and the same headers, from one call to the provider and one charge."""
    account = await place.account()
    first = await keyed(account, "Hello", stream=stream)
    again = await keyed(account, "Hello", stream=stream)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert spent(again) == spent(first)
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert place.provider.ledger.counts.started == 1
    assert len(await account.holds()) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_twice_at_once_is_once(stream: bool) -> None:
    """Two requests at the same moment, to two APIs: the second waits for the first one's answer."""
    async with running_place(apis=2) as place:
        account = await place.account()
        text = "Hello [[latency_ms=200]]"
        both = await asyncio.gather(*(keyed(account, text, stream=stream, api=api) for api in range(2)))
        assert [answer.status for answer in both] == [200, 200]
        assert both[0].body == both[1].body
        assert place.provider.ledger.counts.started == 1
        (hold,) = await account.holds()
        assert (await account.credits()).balance == 10_000_000 - hold.cost


async def test_one_that_takes_too_long_is_in_progress(place: Place, monkeypatch: Any) -> None:
    """A repeat does not wait for ever: 409, and later the answer."""
    monkeypatch.setattr("api.gateway.once.FIRST_WAITED_S", 0.1)
    account = await place.account()
    first = asyncio.create_task(keyed(account, "Hello [[latency_ms=600]]"))

    async def called() -> bool:
        return place.provider.ledger.counts.started == 1

    await until(called)
    early = await keyed(account, "Hello [[latency_ms=600]]")
    assert early.status == 409
    assert early.error["code"] == "in_progress"
    assert early.headers["Retry-After"]
    assert (await first).status == 200
    assert (await keyed(account, "Hello [[latency_ms=600]]")).body == (await first).body
    assert place.provider.ledger.counts.started == 1


async def test_repeats_that_wait_are_bounded_and_look_seldom(place: Place, monkeypatch: Any) -> None:
    """One more than may wait is told to come later; the one that waits asks ever more seldom, and gets the answer."""
    monkeypatch.setattr("api.gateway.metering.REPEATS_MAX", 1)
    looks: list[str] = []

    async def looking(call: Any, hold_id: str) -> Any:
        looks.append(hold_id)
        return await over(call, hold_id)

    over = once._over
    monkeypatch.setattr("api.gateway.once._over", looking)
    account = await place.account()
    text = "Hello [[latency_ms=1500]]"
    first = asyncio.create_task(keyed(account, text))

    async def called() -> bool:
        return place.provider.ledger.counts.started == 1

    async def waiting() -> bool:
        return bool(looks)

    await until(called)
    repeat = asyncio.create_task(keyed(account, text))
    await until(waiting)
    late = await keyed(account, text)
    assert (late.status, late.error["code"], late.headers["Retry-After"]) == (503, "overloaded", "2")
    assert (await repeat).body == (await first).body
    assert len(looks) < 15
    assert (await keyed(account, text)).status == 200


async def test_another_body_under_the_key_is_refused(place: Place) -> None:
    """422, and the provider is not called."""
    account = await place.account()
    await keyed(account, "Hello")
    other = await keyed(account, "Something else")
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
    assert place.provider.ledger.counts.started == 1


async def test_a_failure_that_was_not_charged_frees_the_key(place: Place) -> None:
    """After an error of the provider's the same key tries again, under a hold of its own."""
    account = await place.account()
    for tries in (1, 2, 3):
        failed = await keyed(account, "Hello [[fail=error-400]]")
        assert failed.status == 400
        assert place.provider.ledger.counts.started == tries
    assert [hold.status for hold in await account.ended(3)] == ["released"] * 3


async def test_a_refusal_for_money_frees_the_key(place: Place) -> None:
    """Once credits were added the same key goes through."""
    account = await place.account("0")
    assert (await keyed(account, "Hello")).status == 402
    await place.grant(account.id, "1")
    assert (await keyed(account, "Hello")).status == 200
    assert (await keyed(account, "Hello")).status == 200
    assert place.provider.ledger.counts.started == 1


async def test_an_answer_whose_time_is_over_is_told_and_never_charged_again(place: Place, monkeypatch: Any) -> None:
    """After a day the answer is gone: 409 with what was charged."""
    monkeypatch.setattr(answers, "DAY", -DAY)
    account = await place.account()
    assert (await keyed(account, "Hello")).status == 200
    late = await keyed(account, "Hello")
    assert (late.status, late.error["code"]) == (409, "answer_lost")
    (hold,) = await account.holds()
    assert late.error["cost"] == f"0.{hold.cost:06d}"
    assert late.headers["x-should-retry"] == "false"
    assert place.provider.ledger.counts.started == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_too_large_is_not_kept(place: Place, monkeypatch: Any, stream: bool) -> None:
    """The first gets it, the repeat is told why it does not."""
    monkeypatch.setattr(answers, "KEPT_BYTES_MAX", 100)
    monkeypatch.setattr("api.gateway.stream.KEPT_BYTES_MAX", 100)
    account = await place.account()
    assert (await keyed(account, "Hello", stream=stream)).status == 200
    again = await keyed(account, "Hello", stream=stream)
    assert (again.status, again.error["code"]) == (409, "answer_too_large")
    assert place.provider.ledger.counts.started == 1


async def test_a_stream_that_was_left_is_charged_and_lost(place: Place) -> None:
    """A partial answer is not kept: its repeat hears what was charged."""
    account = await place.account()
    body = {
        "model": "fs-basic",
        "messages": [{"role": "user", "content": "[[tokens=1000]] [[tps=50]]"}],
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {account.key}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    data = msgspec.json.encode(body)
    async with place.http.post(f"{place.url}/v1/chat/completions", data=data, headers=headers) as response:
        await response.content.readany()
        response.close()
    (hold,) = await account.ended()
    again = await account.post(data, headers={"Idempotency-Key": "k"})
    assert (again.status, again.error["code"]) == (409, "answer_lost")
    assert again.error["cost"] == f"0.{hold.cost:06d}"
    assert place.provider.ledger.counts.started == 1


async def test_a_client_that_leaves_finds_its_answer_later(place: Place) -> None:
    """A whole answer under a key is finished, charged and kept for a client that lost its connection."""
    account = await place.account()
    text = "Hello [[latency_ms=400]]"
    body = b'{"model":"fs-basic","messages":[{"role":"user","content":"' + text.encode() + b'"}]}'
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await account.post(body, headers={"Idempotency-Key": "k"})
    again = await account.post(body, headers={"Idempotency-Key": "k"})
    assert again.status == 200
    assert place.provider.ledger.counts.started == 1
    assert len(await account.holds()) == 1


async def test_a_withheld_answer_is_there_for_its_repeat(place: Place, monkeypatch: Any) -> None:
    """What was kept is charged, once, and never taken back: a twin of the request may have been given it already."""
    monkeypatch.setattr("api.gateway.metering.ACK_S", 0.2)
    account = await place.account()
    unsure = True
    place.log.unsure = lambda record: unsure and b'"hold.settle"' in record
    withheld = await keyed(account, "Hello")
    assert (withheld.status, withheld.error["code"]) == (503, "settlement_unknown")
    assert withheld.error["command_id"]

    unsure = False
    again = await keyed(account, "Hello")
    assert again.status == 200
    assert place.provider.ledger.counts.started == 1
    (hold,) = await account.ended()
    assert (await account.credits()).balance == 10_000_000 - hold.cost
    assert (hold.status, hold.corrected) == ("settled", False)
    assert hold.cost > 0


async def test_kept_answers_are_sealed(place: Place) -> None:
    """The store has no word of an answer in plaintext, nor has the log."""
    account = await place.account()
    answer = await keyed(account, "Hello")
    text = answer.json["choices"][0]["message"]["content"].encode()
    (kept,) = place.services.store._answers.values()  # type: ignore[attr-defined]  # looks at what is stored
    assert text not in kept.sealed
    assert not [record for record in place.log.seen if text in record or b"Hello" in record]
