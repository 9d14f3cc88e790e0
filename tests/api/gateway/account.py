"""A client of the place under test: its key, its calls, and what the read models say of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from openai import AsyncOpenAI

from api.ids import random_hex, uuid7
from domain.envelope import Actor, Envelope, Header
from domain.message import Command
from eventstore.clock import system_clock
from eventstore.shards import SHARDS_DEFAULT
from projections.credits import CreditsView, get_credits
from projections.holds import HoldView, list_holds

if TYPE_CHECKING:
    from tests.api.gateway.place import Place

BOUND_S = 60.0


class Account:
    """A registered user with credits and a key."""

    def __init__(self, place: "Place", account_id: str, token: str, key: str) -> None:
        self.place = place
        self.id = account_id
        self.token = token
        self.key = key

    def client(self, **more: Any) -> AsyncOpenAI:
        """The official SDK, with nothing changed but address and key."""
        client = AsyncOpenAI(base_url=f"{self.place.url}/v1", api_key=self.key, max_retries=0, **more)
        self.place.clients.append(client)
        return client

    async def chat(self, text: str, *, headers: dict[str, str] | None = None, api: int = 0, **fields: Any) -> "Answer":
        """One chat completion as raw HTTP."""
        body = {"model": "fs-basic", "messages": [{"role": "user", "content": text}], **fields}
        return await self.post(body, headers=headers, api=api)

    async def post(self, body: Any, *, headers: dict[str, str] | None = None, api: int = 0) -> "Answer":
        """A body, as JSON or bytes, to the chat route."""
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        url = f"{self.place.urls[api]}/v1/chat/completions"
        async with self.place.http.post(url, data=data, headers=given) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def credits(self) -> CreditsView:
        """The account's figures."""
        return await get_credits(self.place.documents, SHARDS_DEFAULT, self.id)

    async def holds(self) -> list[HoldView]:
        """All its holds, newest first."""
        return list((await list_holds(self.place.documents, SHARDS_DEFAULT, self.id, limit=100)).items)

    async def ended(self, count: int = 1) -> list[HoldView]:
        """Its holds once there are `count` and none is open."""

        async def over() -> bool:
            holds = await self.holds()
            return len(holds) >= count and all(hold.status != "open" for hold in holds)

        await until(over)
        return await self.holds()

    async def tell(self, command: Command) -> None:
        """A command to the account, as an admin or the payment side would send it."""
        commands = self.place.services.commands
        header = Header(
            id=uuid7(),
            attempt=random_hex(),
            stream=f"account:{self.id}",
            account=self.id,
            actor=Actor(kind="system", id="test"),
            issued_at=system_clock(),
        )
        ack = await commands.send(Envelope(header=header, body=command))
        outcome = await commands.outcome(ack.shard, header.id, header.attempt, BOUND_S)
        assert outcome is not None
        assert outcome.status == "applied", outcome


class Answer:
    """A response that was read."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def error(self) -> Any:
        """The `error` object of a refusal."""
        return msgspec.json.decode(self.body)["error"]

    @property
    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)


async def until(condition: Callable[[], Awaitable[bool]], bound_s: float = BOUND_S) -> None:
    """Waits for a condition; fails after the bound."""
    end = time.monotonic() + bound_s
    while not await condition():
        assert time.monotonic() < end, "the condition never came"
        await asyncio.sleep(0.005)
