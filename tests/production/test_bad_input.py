"""Bad input from outside: production answers as devnet does, whatever comes."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from msgspec import Struct

from api.app import create_app
from tests.api.running import application
from tests.api.serving import connected, raw_request, served
from tests.crash.api.shop import Shop, clients
from tests.crash.waiting import until
from tests.production.bad_input import CASES

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 30.0
"""Longer than a server waits for a sender."""


class Target(Struct, frozen=True, kw_only=True):
    """A deployment to ask, and credentials of each kind for it."""

    url: str
    credentials: dict[str, str]


def _credentials(token: str, key: str, revoked: str) -> dict[str, str]:
    mangled = "A" if token[-10] != "A" else "B"
    return {
        "token": token,
        "key": key,
        "revoked": revoked,
        "mangled_token": token[:-10] + mangled + token[-9:],
        "mangled_key": key[:-1] + ("a" if key[-1] != "a" else "b"),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def targets(shop: Shop) -> AsyncIterator[dict[str, Target]]:
    """Production and devnet."""
    async with clients(shop) as caller, application() as running:
        customer = await caller.customer("5.000000")
        made = await caller.ask("POST", "/api-keys", {"name": "revoked"}, token=customer.token)
        gone = await caller.ask("DELETE", f"/api-keys/{made.json['id']}", token=customer.token)
        assert gone.status == 200, gone
        person = await running.register()
        key, revoked = await running.key(person), await running.key(person)
        assert (await running.ask("DELETE", f"/api-keys/{revoked['id']}", token=person.token)).status == 200
        async with served(create_app(running.services)) as url:
            yield {
                "production": Target(
                    url=shop.urls[0], credentials=_credentials(customer.token, customer.key, made.json["key"])
                ),
                "devnet": Target(url=url, credentials=_credentials(person.token, key["key"], revoked["key"])),
            }


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_has_one_answer_in_every_mode(targets: dict[str, Target], name: str) -> None:
    """Each kind of bad input is refused with the same status and code, in the one shape, by both modes."""
    case = CASES[name]
    for mode, target in targets.items():
        answer = await raw_request(target.url, case.request(target.credentials))
        assert (answer.status, answer.error["code"]) == (case.status, case.code), (mode, answer)


async def test_slow_senders_are_sent_away_in_every_mode(targets: dict[str, Target]) -> None:
    """A head that stops and a body that stops are 408, within a bound, and disturb nobody else."""
    for_body = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    senders = {"headers_timeout": b"GET /health HTTP/1.1\r\nHost: ", "body_timeout": for_body}

    async def stops(url: str, sent: bytes) -> tuple[int, str]:
        async with connected(url) as client:
            await client.send(sent)
            answer = await client.answer(timeout_s=PATIENCE_S)
            return answer.status, str(answer.error["code"])

    asked = [(target.url, code, sent) for target in targets.values() for code, sent in senders.items()]
    found = await asyncio.gather(*[stops(url, sent) for url, _, sent in asked])
    assert found == [(408, code) for _, code, _ in asked]


async def test_a_client_that_leaves_in_its_body_is_no_error(targets: dict[str, Target], shop: Shop) -> None:
    """Half a body and a closed connection: nothing is logged as ours, and the next request is served."""
    url = targets["production"].url
    async with connected(url) as client:
        await client.send(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    async with aiohttp.ClientSession() as http, http.get(f"{url}/health") as response:
        assert response.status == 200
    assert not [line for process in shop.deployment.processes for line in process.logged("request_crashed")]


async def test_a_revoked_key_is_refused_by_the_other_process_within_a_second(shop: Shop) -> None:
    """What one API process revokes, the other refuses, though it has just served the key."""
    async with clients(shop) as caller:
        customer = await caller.customer("5.000000")
        keys = await caller.listed(customer, "/api-keys")
        first, other = shop.urls

        async def refused() -> bool:
            answer = await caller.ask("GET", "/v1/models", url=other, token=customer.key)
            return (answer.status, answer.json.get("error", {}).get("code")) == (401, "invalid_api_key")

        assert not await refused()
        gone = await caller.ask("DELETE", f"/api-keys/{keys[0]['id']}", url=first, token=customer.token)
        assert gone.status == 200, gone
        await until(refused, 1.0, "the other process refuses the key")
