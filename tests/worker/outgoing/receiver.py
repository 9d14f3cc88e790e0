"""An operator's receiver on loopback that misbehaves as it is told; a plain server, so that it can die in an answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

Mood = str
"""`200`, `500` or another status; `hang`: no answer; `cut`: the answer breaks off; `late`: taken, answer breaks off."""


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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        received = Received(headers=headers, body=await reader.readexactly(int(headers["content-length"])))
        self.received.append(received)
        mood = self.mood(received)
        if mood == "hang":
            await asyncio.Event().wait()
        if mood in ("cut", "late"):
            if mood == "late":
                self.taken.append(received)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno more tha")
            await writer.drain()
            return False
        if mood == "200":
            self.taken.append(received)
        location = b"Location: /elsewhere\r\n" if mood.startswith("3") else b""
        writer.write(b"HTTP/1.1 %b Said\r\n%bContent-Length: 2\r\n\r\nok" % (mood.encode(), location))
        await writer.drain()
        return True


@asynccontextmanager
async def receiving(mood: Callable[[Received], Mood] | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens for the length of the block."""
    receiver = Receiver(mood)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(receiver._serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=operators-own"
    try:
        yield receiver
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
