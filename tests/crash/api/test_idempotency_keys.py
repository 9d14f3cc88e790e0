"""One effect under one `Idempotency-Key`, whichever API processes are asked, and whichever of them die."""

import asyncio
import secrets
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from devnet.seed import wait_until_ready
from tests.crash.api.shop import Answer, Caller
from tests.crash.deployment import Process
from tests.crash.site import log_ends
from tests.crash.waiting import until

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_chat_sent_twice_at_once_to_two_processes_is_one_call_and_one_charge(
    caller: Caller, stream: bool
) -> None:
    """One call reaches the provider, one charge is booked, and both get the same answer, byte for byte."""
    person = await caller.customer("1.000000")
    rounds = 4
    before = (await caller.provider())["started"]
    for _ in range(rounds):
        key = secrets.token_hex(8)
        text = f"Hello {key} [[latency_ms=100]] [[tps=500]]"
        first, second = await asyncio.gather(
            *(caller.chat(person, text, url=url, idempotency_key=key, stream=stream) for url in caller.shop.urls)
        )
        assert (first.status, second.status) == (200, 200), (first, second)
        assert _content(first, stream) == _content(second, stream)
        later = await caller.chat(person, text, url=caller.shop.urls[1], idempotency_key=key, stream=stream)
        assert _content(later, stream) == _content(first, stream)
        other = await caller.chat(person, "Something else", idempotency_key=key, stream=stream)
        assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await caller.provider())["started"] == before + rounds
    charges = [
        each for each in await caller.listed(person, "/billing/credits/transactions") if each["kind"] == "charge"
    ]
    assert len(charges) == rounds
    balance = await caller.balance(person)
    assert Decimal(balance["balance"]) == 1 + sum(Decimal(each["amount"]) for each in charges)
    assert Decimal(balance["held"]) == Decimal(0)


def _content(answer: Answer, stream: bool) -> bytes:
    """The answer without the comment about cost, which tells of the balance at its time."""
    if not stream:
        return answer.body
    return b"\n".join(line for line in answer.body.split(b"\n") if not line.startswith(b": cost="))


async def test_what_a_killed_process_could_not_answer_is_had_again_under_the_same_key(caller: Caller) -> None:
    """API killed between the log's acknowledgement and its answer: the repeat elsewhere gets the same user and secret.

    The workers stand still meanwhile, so that there is nothing to answer before the kill.
    """
    owner = await caller.customer("1.000000")
    url, doomed = caller.shop.start_api()
    await wait_until_ready(url)
    registration, key_of_user, key_of_key = caller.person(), secrets.token_hex(8), secrets.token_hex(8)

    def ask(path: str, url: str) -> Any:
        if path == "/auth/register":
            return caller.ask("POST", path, registration, url=url, idempotency_key=key_of_user)
        return caller.ask("POST", path, {"name": "k"}, url=url, token=owner.token, idempotency_key=key_of_key)

    paths = ("/auth/register", "/api-keys")
    await _killed_before_it_can_answer(caller, doomed, [ask(path, url) for path in paths])
    for path in paths:
        repeats = [await ask(path, each) for each in (*caller.shop.urls, *caller.shop.urls)]
        assert {each.status for each in repeats} == {201}, repeats
        assert len({each.body for each in repeats}) == 1, repeats
        caller.shop.secrets.add(repeats[0].json.get("token") or repeats[0].json["key"])
    made = (await ask("/api-keys", caller.shop.urls[0])).json
    keys = [each["id"] for each in await caller.listed(owner, "/api-keys")]
    assert keys.count(made["id"]) == 1
    assert len(keys) == 2
    assert (await caller.ask("GET", "/v1/models", token=made["key"])).status == 200
    again = await caller.ask("POST", "/auth/register", registration)
    assert (again.status, again.json["error"]["code"]) == (409, "email_taken")


async def _killed_before_it_can_answer(caller: Caller, doomed: Process, asked: list[Any]) -> None:
    """Sends requests while the workers stand still, and kills the API once the log has a command of each."""
    deployment = caller.shop.deployment
    workers = deployment.workers()
    before = sum((await log_ends(deployment)).values())
    for worker in workers:
        worker.freeze()
    try:
        sending = [asyncio.ensure_future(each) for each in asked]

        async def acknowledged() -> bool:
            return sum((await log_ends(deployment)).values()) >= before + len(asked)

        await until(acknowledged, 10, "the log has the commands")
        doomed.kill()
        lost = await asyncio.gather(*sending, return_exceptions=True)
    finally:
        for worker in workers:
            worker.thaw()
    assert all(isinstance(each, aiohttp.ClientError) for each in lost), lost
