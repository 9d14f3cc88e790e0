"""An application on a socket: uvicorn with our protocol and bounds; used by `python -m api`, devnet and tests."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from api.http_protocol import BoundedHttp
from api.settings import ApiSettings

KEEP_ALIVE_S = 75
BACKLOG = 2_048


def uvicorn_config(app: Any, settings: ApiSettings, *, lifespan: bool = True) -> uvicorn.Config:
    """How every server of ours runs. Logging is `telemetry.logs`; access lines are the application's."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_s,
        backlog=BACKLOG,
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. `OSError` when the address is taken.

    It listens at once: of two sockets that are bound alone Linux refuses the second only when it begins to listen.
    Its protocol is named, for asyncio looks at that before it turns off Nagle's algorithm, which would hold an answer's
    body back for the 40 ms that a client may take to acknowledge its headers.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """SIGTERM and SIGINT end it cleanly: the process's exit code is its own, not the signal's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn has it, but for raising the signals once more at the end."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[str]:
        """Serves on the socket while the block runs; answers the address, such as `http://127.0.0.1:8000`."""
        task = asyncio.create_task(self._serve([listener]), name="server")
        try:
            while not self.started:
                if task.done():
                    task.result()
                    raise RuntimeError("the server ended before it began")
                await asyncio.sleep(0.001)
            yield address_of(listener)
        finally:
            self.should_exit = True
            await task


def address_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
