"""Accounts of their own for a benchmark: registered users, each with an API key."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
from msgspec import Struct

from bench.deployment import Deployment

AT_ONCE = 2
"""Passwords are hashed, which takes a whole core each."""
PASSWORD = "correct horse battery staple"


class Customer(Struct, frozen=True, kw_only=True):
    """A user with a login token, and the id of a key of theirs."""

    token: str
    key_id: str


async def customers(product: Deployment, count: int) -> Sequence[Customer]:
    """Registers `count` users over HTTP."""
    one = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(product.url) as http:

        async def made(number: int) -> Customer:
            async with one:
                email = f"bench.{number}@example.com"
                user = await ask(http, "POST", "/auth/register", body={"email": email, "password": PASSWORD})
                key = await ask(http, "POST", "/api-keys", token=user["token"], body={"name": "bench"})
                return Customer(token=user["token"], key_id=key["id"])

        return await asyncio.gather(*(made(number) for number in range(count)))


async def ask(http: aiohttp.ClientSession, method: str, path: str, *, token: str = "", body: Any = None) -> Any:
    """One call that must be answered with 2xx; its JSON."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.request(method, path, json=body, headers=headers) as answer:
        assert answer.ok, f"{method} {path} answered {answer.status}: {await answer.text()}"
        return await answer.json()


async def assert_renamed(product: Deployment, everyone: Sequence[Customer]) -> None:
    """What was measured also happened: every key has a name that the benchmark gave it."""
    async with aiohttp.ClientSession(product.url) as http:
        for each in everyone:
            key = await ask(http, "GET", f"/api-keys/{each.key_id}", token=each.token)
            assert key["name"].startswith("bench "), key
