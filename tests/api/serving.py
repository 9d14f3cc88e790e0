"""An application on the server of production, and clients that speak bytes, for what no HTTP library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from msgspec import Struct

from api.app import Application
from api.server import Server, listening_socket, uvicorn_config


@asynccontextmanager
async def served(app: Application, *, lifespan: bool = False) -> AsyncIterator[str]:
    """The application on a free port of this machine; answers its URL."""
    listener = listening_socket("127.0.0.1", 0)
    server = Server(uvicorn_config(app, app.process.settings, lifespan=lifespan))
    async with server.serving(listener) as url:
        yield url


class RawAnswer(Struct, frozen=True, kw_only=True):
    """What came back on a socket, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error, which must have the one shape."""
        error: dict[str, Any] = msgspec.json.decode(self.body)["error"]
        assert {"code", "type", "message", "param", "request_id"} <= set(error)
        return error


class RawClient:
    """One connection. Everything it waits for is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Sends bytes; a connection that is closed already is no error here."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    @property
    def broken(self) -> bool:
        """Whether a send has found the connection gone."""
        return self._writer.is_closing()

    async def answer(self, *, timeout_s: float = 10.0) -> RawAnswer:
        """Reads one answer with a `Content-Length`."""
        async with asyncio.timeout(timeout_s):
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
            return RawAnswer(status=int(lines[0].split()[1]), headers=headers, body=body)

    async def some(self, *, timeout_s: float = 10.0) -> bytes:
        """Reads what there is, at least one byte."""
        async with asyncio.timeout(timeout_s):
            return await self._reader.read(65_536)

    async def closed(self, *, timeout_s: float = 10.0) -> bytes:
        """Reads until the server closes the connection."""
        async with asyncio.timeout(timeout_s):
            return await self._reader.read()

    def half_close(self) -> None:
        """Says that nothing more will come."""
        self._writer.write_eof()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RawClient]:
    """A connection to the server of a URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def raw_request(url: str, data: bytes, *, timeout_s: float = 10.0) -> RawAnswer:
    """Sends bytes on a fresh connection and reads one answer."""
    async with connected(url) as client:
        await client.send(data)
        return await client.answer(timeout_s=timeout_s)
