"""One HTTP exchange over ASGI: sends, waits that end early when the client leaves, and ways to break off."""

import asyncio
import socket
import struct
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

CONNECTION: Final = "provider.connection"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
GRACE_S = 0.02


class Exchange:
    """`gone` turns true as soon as the client has left, provided that `watch` was called."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.gone = False
        self._receive = receive
        self._send = send
        self._connection = scope.get("extensions", {}).get(CONNECTION)
        self._wake: asyncio.Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def body(self, size_max: int) -> bytes | None:
        """The request's body, cut at `size_max`; None if the client left before its end."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return bytes(message["body"])
        parts = []
        size = 0
        while message["type"] == "http.request":
            size += len(message["body"])
            if size <= size_max:
                parts.append(message["body"])
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()
        return None

    def watch(self) -> None:
        """Notice from now on when the client leaves. Without it nobody listens, which is cheaper."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self.gone = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def pause(self, seconds: float | None) -> None:
        """Wait so long, for ever if None, or until the client leaves."""
        if self.gone:
            return
        loop = asyncio.get_running_loop()
        wake = self._wake = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _resolve, wake)
        try:
            await wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool = False) -> None:
        """Send a part of the body, the last one unless `more`; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def cut(self) -> None:
        """Reset the connection (TCP RST), a moment after what was written so that it arrives."""
        self.watch()
        await self.pause(GRACE_S)
        if self._connection is None:
            raise ConnectionResetError("the provider was told to break off, and this server hides its connection")
        connection: Any = self._connection
        raw = connection.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.abort()
        while not self.gone:
            await self.pause(None)

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()


def _resolve(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)
