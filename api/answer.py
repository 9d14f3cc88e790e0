"""Sends answers: one struct, one set of headers, one error shape."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from api.call import Reply
from api.command_log.commands import Accepted
from api.errors import ApiError

Header = tuple[bytes, bytes]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON: Header = (b"content-type", b"application/json")
_ALWAYS: tuple[Header, ...] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_LISTS = frozenset({b"x-quota-warning"})
"""Headers that can come in several lines (RFC 9110, 5.3): one of a route does not replace ours."""
_encode = msgspec.json.Encoder().encode


class AcceptedBody(Struct, frozen=True, kw_only=True):
    """202: the command is on its way."""

    command_id: str
    status: str
    """`pending`: the log has it, no outcome yet."""
    status_url: str


class Sender:
    """ASGI `send` of one exchange: knows the headers that every answer carries, and what was answered."""

    __slots__ = ("_extra", "_send", "started", "status")

    def __init__(self, send: Send, request_id: str, extra: Iterable[Header] = ()) -> None:
        self._send = send
        self._extra: list[Header] = [(b"x-request-id", request_id.encode("ascii")), *extra]
        self.status = 0
        self.started = False

    def add(self, *headers: Header) -> None:
        """Headers that every answer of this exchange carries, whatever it turns out to be."""
        self._extra += headers

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Passes on what an ASGI app of a route sends, with our headers added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            headers = list(message.get("headers", ()))
            given = {name.lower() for name, _ in headers} - _LISTS
            message["headers"] = headers + [each for each in (*self._extra, *_ALWAYS) if each[0] not in given]
        await self._send(message)

    async def send(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        """One whole answer."""
        self.status = status
        self.started = True
        length = (b"content-length", b"%d" % len(body))
        start = [*headers, length, *_ALWAYS, *self._extra] if status != 204 else [*headers, *_ALWAYS, *self._extra]  # noqa: PLR2004
        await self._send({"type": "http.response.start", "status": status, "headers": start})
        await self._send({"type": "http.response.body", "body": body})

    async def struct(self, status: int, body: Struct) -> None:
        """A struct as JSON."""
        await self.send(status, _encode(body), (_JSON,))

    async def reply(self, reply: Reply) -> None:
        """A reply with headers of its own."""
        body = reply.body
        if body is None:
            await self.send(reply.status, b"", _encoded(reply.headers))
            return
        media = (b"content-type", reply.media_type.encode("latin-1"))
        encoded = body if isinstance(body, bytes) else _encode(body)
        await self.send(reply.status, encoded, (media, *_encoded(reply.headers)))

    async def accepted(self, accepted: Accepted, *, preferred: bool) -> None:
        """202 with where to ask (RFC 9110, 15.3.3)."""
        url = f"/commands/{accepted.public_id}"
        headers = [_JSON, (b"location", url.encode("ascii")), (b"retry-after", b"1")]
        if preferred:
            headers.append((b"preference-applied", b"respond-async"))
        body = AcceptedBody(command_id=accepted.public_id, status="pending", status_url=url)
        await self.send(202, _encode(body), headers)

    async def error(self, error: ApiError, request_id: str) -> None:
        """The one error shape."""
        headers = [_JSON, *_encoded(error.headers)]
        if error.kind in ("unavailable", "too_many") and "Retry-After" not in error.headers:
            headers.append((b"retry-after", b"1"))
        await self.send(error.status, error.body(request_id), headers)


def _encoded(headers: Mapping[str, str]) -> list[Header]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
