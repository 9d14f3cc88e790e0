"""Many streams that are open at the same time, each read as it arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load import SERIAL

AT_ONCE = 32
TIMEOUT_S = 60.0


@asynccontextmanager
async def open_streams(port: int, request: str, count: int) -> AsyncIterator[None]:
    """`count` connections that each have got the first bytes of a stream, for the length of the block."""
    few = asyncio.Semaphore(AT_ONCE)
    made = [_Stream() for _ in range(count)]

    async def begin(number: int) -> None:
        loop = asyncio.get_running_loop()
        async with few:
            await loop.create_connection(lambda: made[number], "127.0.0.1", port)
            made[number].send(request.replace(SERIAL, f"{number:010d}").encode())
            await made[number].begun.wait()

    try:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as beginning:
            for number in range(count):
                beginning.create_task(begin(number))
        yield
        ended = [stream for stream in made if stream.ended]
        assert not ended, f"{len(ended)} streams ended while they were counted, one with {ended[0].last!r}"
    finally:
        for stream in made:
            stream.close()


class _Stream(asyncio.Protocol):
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False
        self.last = b""
        """The end of what has come, to tell why it ended."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.last += repr(exc).encode()
        self.begun.set()

    def data_received(self, data: bytes) -> None:
        self.last = (self.last + data)[-500:]
        if b"data: " in data:
            self.begun.set()

    def send(self, request: bytes) -> None:
        """Writes the request."""
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        """Goes away without a word, as clients do."""
        if self._transport is not None:
            self._transport.abort()
