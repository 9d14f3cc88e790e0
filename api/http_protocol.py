"""HTTP/1.1 on a socket, with the bounds that uvicorn leaves out: size and time of headers, and readers that stop.

What is refused here never becomes a request; it is answered in the one error shape all the same.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.answer import Header
from api.app import Application
from api.errors import ApiError
from api.http_refusals import REFUSALS, refusal_bytes
from api.timers import Timer, timers_of

HEADER_BYTES_MAX = 32 * 1024
HEADERS_S = 10.0
"""How long the head of a request may take, and a fresh connection may stay silent."""
WRITE_S = 60.0
"""How long a client may leave an answer unread before it is taken for gone."""
CONNECTIONS_MAX = 10_000
HOST = b"host"
LOGGER = logging.getLogger("uvicorn.connections")
"""Without uvicorn's warnings: each is a line for something that a client sends, as often as it likes."""
LOGGER.setLevel(logging.ERROR)


class _HeadTooLarge(Exception):
    """Stops the parser."""


class _WrongHost(Exception):
    """The same."""


class _Loop:
    """What a connection asks of its loop. Of its time limits hardly one is ever reached."""

    __slots__ = ("call_later", "create_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.create_task = loop.create_task
        self.call_later = timers_of(loop).call_later


class _OneWrite:
    """What an answer is written to: keeps its head until its body begins, so that both leave in one system call.

    A server must not send the head before that anyway (ASGI, "Response Start"). `answered` is told of the answer's end.
    """

    __slots__ = ("_answered", "_cycle", "_head", "_kept", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: Any, answered: Callable[[], None]) -> None:
        self._transport = transport
        self._cycle = cycle
        self._answered = answered
        self._head = b""
        self._kept = False

    def write(self, data: bytes) -> None:
        """The first write of an answer is its head; one before that is a `100 Continue`."""
        if self._head:
            self._transport.writelines((self._head, data))
            self._head = b""
        elif self._kept or not self._cycle.response_started:
            self._transport.write(data)
        else:
            self._head, self._kept = data, True

    def finish(self) -> None:
        """The answer is complete, perhaps without a body, as that to a HEAD is."""
        self._flush()
        self._answered()

    def close(self) -> None:
        """Ends the connection behind what was written."""
        self._flush()
        self._transport.close()

    def then(self, answered: Callable[[], None]) -> None:
        """Another than at first is to be told of the answer's end."""
        self._answered = answered

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""


class BoundedHttp(HttpToolsProtocol):
    """See the module. One object for each connection."""

    header_bytes_max: ClassVar[int] = HEADER_BYTES_MAX
    headers_s: ClassVar[float] = HEADERS_S
    write_s: ClassVar[float] = WRITE_S
    connections_max: ClassVar[int] = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._after = timers_of(self.loop).call_later
        self.loop = _Loop(self.loop)  # type: ignore[assignment]  # all that uvicorn asks of it
        self.logger = LOGGER
        self._refused = False
        self._head_open = True
        self._head_bytes = 0
        self._parsed_bytes = 0
        self._hosts = 0
        self._wrong: str | None = None
        self._head_timer: Timer | None = None
        self._write_timer: Timer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Refuses one connection too many; gives the others a bounded time to say something."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refuse(ApiError("overloaded", "Too many connections.", headers={"Retry-After": "1"}))
        else:
            self._head_timer = self._after(self.headers_s, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of the timers."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to an unfinished head: one endless header would never be reported by the parser."""
        if self._refused:
            return
        if self._head_open:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._head_open or self.transport.is_closing():
            return
        if self._head_bytes > self.header_bytes_max:
            self._refuse(ApiError("headers_too_large", limit_bytes=self.header_bytes_max))
        elif self._head_timer is None:
            self._head_timer = self._after(self.headers_s, self._head_too_slow)

    def on_message_begin(self) -> None:
        """A new head begins."""
        super().on_message_begin()
        self._head_open = True
        self._parsed_bytes = 0
        self._hosts = 0

    def on_url(self, url: bytes) -> None:
        """Bounds the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bounds all headers together."""
        self._count(len(name) + len(value))
        if len(name) == len(HOST) and name.lower() == HOST:
            self._hosts += 1
        super().on_header(name, value)

    def _count(self, size_bytes: int) -> None:
        self._parsed_bytes += size_bytes
        if self._parsed_bytes > self.header_bytes_max:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        """The head is there: from here on the endpoint bounds the request."""
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            self._wrong = "A request of HTTP/1.1 has one Host header."  # RFC 9112, 3.2
            raise _WrongHost
        self._head_open = False
        self._head_bytes = 0
        self._stop_head_timer()
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not before:  # else it is an upgrade, which is refused
            answer = _OneWrite(self.transport, cycle, cycle.on_response)
            cycle.transport, cycle.on_response = answer, answer.finish  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        """What the parser refused, in the one error shape."""
        del msg
        if self._parsed_bytes > self.header_bytes_max:
            self._refuse(ApiError("headers_too_large", limit_bytes=self.header_bytes_max))
        else:
            self._refuse(ApiError("invalid_http", self._wrong))

    def pause_writing(self) -> None:
        """The client does not read: it has a bounded time to go on."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self._after(self.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read on."""
        self._stop_write_timer()
        super().resume_writing()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._head_open and not self.transport.is_closing():
            if not self._head_bytes and not self._under_way():
                self.transport.close()
            else:
                self._refuse(ApiError("headers_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Tells an error behind the answers to what came before, and ends the connection. What follows is not heard."""
        if self._refused:
            return
        self._refused = True
        REFUSALS.count(error.code)
        cycle = self._under_way()
        if cycle is None:
            self._say(error)
        elif not cycle.more_body:  # what is wrong is no part of the last request
            cycle.transport.then(partial(self._say, error))
        elif self.pipeline:  # it is the body of the last one that waits
            cycle.disconnected = True  # uvicorn expects no answer of it
            self.pipeline[0] = (cycle, self._saying(error))
        elif cycle.response_started:
            cycle.transport.close()
        else:
            self._say(error)

    def _under_way(self) -> Any:
        """The last request as long as it is not answered; that there may be none, uvicorn's types do not say."""
        cycle: Any = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _say(self, error: ApiError) -> None:
        if not self.transport.is_closing():
            self.transport.write(refusal_bytes(error, self._limits()))
            self.transport.close()

    def _saying(self, error: ApiError) -> Any:
        async def app(*_asgi: object) -> None:
            self._say(error)

        return app

    def _limits(self) -> list[Header]:
        """How the peer's address stands; of whom a proxy speaks, nobody has said yet."""
        app = self.config.app
        return app.address_headers(self.client[0]) if isinstance(app, Application) and self.client else []

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
