"""A plain HTTP/1.1 server on loopback whose answers can be anything: late, cut off in the middle, or none at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec import Struct


class Request(Struct, frozen=True, kw_only=True):
    """One that was read whole; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(Struct, frozen=True, kw_only=True):
    """What is answered. `cut` breaks off in the middle of the body, `silent` before the first byte."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = {}
    cut: bool = False
    silent: bool = False


Handler = Callable[[Request], Awaitable[Answer]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    """Serves in this event loop for the length of the block, and yields the address without a path."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(handle, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(handle: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await _answer(handle, reader, writer):
                pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _answer(handle: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    method, path, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    answer = await handle(Request(method=method, path=path, headers=headers, body=body))
    if answer.silent:
        return False
    length = len(answer.body) + 100 * answer.cut
    said = {"Content-Type": "application/json", "Content-Length": str(length)} | answer.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"HTTP/1.1 {answer.status} Said\r\n{head}\r\n".encode() + answer.body)
    await writer.drain()
    return not answer.cut
