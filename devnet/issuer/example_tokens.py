"""Tokens for the printout, asked for over HTTP as anybody would."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from msgspec import Struct

from devnet.arguments import Person
from devnet.seed import SeedError

READY_S = 30.0
LIFETIME_S = 24 * 3_600


class Issued(Struct, frozen=True, kw_only=True):
    """An identity provider, and tokens of it by subject."""

    url: str
    tokens: Mapping[str, str]


async def issue(url: str, people: Sequence[Person]) -> Issued:
    """A token for each, good for a day; waits, with a bound, for a provider that is only just starting."""
    async with aiohttp.ClientSession() as http:
        return Issued(url=url, tokens={each.subject: await _token(http, url, each) for each in people})


async def _token(http: aiohttp.ClientSession, url: str, person: Person) -> str:
    wanted: dict[str, Any] = {"sub": person.subject, "role": person.role or "user", "expires_in_s": LIFETIME_S}
    end = time.monotonic() + READY_S
    while True:
        try:
            async with http.post(f"{url}/token", json=wanted) as response:
                answer = await response.json()
                return str(answer["token"])
        except aiohttp.ClientConnectionError as error:
            if time.monotonic() > end:
                raise SeedError(f"the identity provider {url} does not answer: {error}") from error
        await asyncio.sleep(0.02)
