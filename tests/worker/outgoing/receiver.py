"""An operator's receiver on loopback, which misbehaves as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tests.loopback import Answer, Request, serving

Mood = str
"""`200`, `500` or another status; `hang`: no answer; `cut`: the answer breaks off; `late`: taken, answer breaks off;
`long`: taken, with more of an answer than anybody wants; `heads`: with more of a header than anybody reads."""


class Received(Struct, frozen=True, kw_only=True):
    """One request that was read whole."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The delivery's id."""
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        """The notice's own part."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


class Receiver:
    """Remembers what it was sent. `mood` says how the next request is answered, by what it brings."""

    def __init__(self, mood: Callable[[Received], Mood] | None = None) -> None:
        self.mood = mood or (lambda _received: "200")
        self.received: list[Received] = []
        self.taken: list[Received] = []
        """Those that were answered as taken, wholly or not."""
        self.url = ""

    def firsts(self, account: str) -> list[str]:
        """The references that an account's notices had when they came for the first time."""
        seen: dict[str, str] = {}
        for each in self.taken:
            if each.data["account_id"] == account:
                seen.setdefault(each.id, each.data["reference"])
        return list(seen.values())

    async def take(self, request: Request) -> Answer:
        """Answers as the mood is."""
        received = Received(headers=request.headers, body=request.body)
        self.received.append(received)
        mood = self.mood(received)
        if mood == "hang":
            await asyncio.Event().wait()
        if mood in ("200", "late"):
            self.taken.append(received)
        if mood == "long":
            return Answer(body=bytes(4_000_000))
        if mood == "heads":
            return Answer(headers={"X-Much": "x" * 100_000})
        if mood in ("cut", "late"):
            return Answer(cut=True)
        return Answer(status=int(mood), headers={"Location": "/elsewhere"} if mood.startswith("3") else {})


@asynccontextmanager
async def receiving(mood: Callable[[Received], Mood] | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens for the length of the block."""
    receiver = Receiver(mood)
    async with serving(receiver.take) as url:
        receiver.url = f"{url}/hook?token=operators-own"
        yield receiver
