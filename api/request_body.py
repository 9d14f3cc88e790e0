"""Reads a request's body within bounds of size and time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from api.errors import ApiError
from api.timers import in_time

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]

IDLE_S = 10.0
"""How long a body may pause."""
BODY_S = 60.0
"""How long a whole body may take."""
DRAIN_BYTES_MAX = 1024 * 1024
DRAIN_S = 1.0
"""What is still read of a refused body, so that the client has sent its request before it gets the answer."""


class Gone(Exception):
    """The client went away while its body was awaited: there is nobody to answer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], bytes_max: int) -> bytes:
    """The whole body. 413 `body_too_large`, 408 `body_timeout`; `Gone` when the connection ended before the body."""
    length = headers.get(b"content-length")
    if length is not None and int(length) > bytes_max:
        raise _too_large(bytes_max)
    message = await _next(receive, IDLE_S)
    body = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(receive, body, bytes_max)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return bytes(body)


async def _rest(receive: Receive, first: bytes, bytes_max: int) -> bytes:
    parts = [first]
    size = len(first)
    until = asyncio.get_running_loop().time() + BODY_S
    while size <= bytes_max:
        left_s = until - asyncio.get_running_loop().time()
        message = await _next(receive, max(0.0, min(IDLE_S, left_s)))
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _next(receive: Receive, timeout_s: float) -> Message:
    try:
        message = await in_time(receive(), timeout_s)
    except TimeoutError:
        raise ApiError("body_timeout", headers={"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise Gone
    return message


def _too_large(bytes_max: int) -> ApiError:
    return ApiError("body_too_large", headers={"Connection": "close"}, limit_bytes=bytes_max)


async def drain(receive: Receive) -> None:
    """Reads on for a moment: a socket closed with bytes unread takes the answer away from its client."""
    left = DRAIN_BYTES_MAX
    try:
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
