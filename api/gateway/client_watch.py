"""Notices that a client has left while a provider is being waited for, without costing short calls anything."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from api.gateway.metering import Metering

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """The client closed its connection before the answer was complete."""


class ClientWatch:
    """`async with ClientWatch(…): …` cancels what runs inside when the client leaves, and raises `ClientGone`.

    Works as `asyncio.timeout` does: a cancellation from elsewhere stays one. The body must have been read already, so
    that `receive` has nothing but the disconnect to tell (ASGI, "Disconnect - receive event"). Most calls are over
    before anybody needs to listen, so `metering` calls `listen` at its next tick.
    """

    __slots__ = ("_cancelling", "_listener", "_metering", "_receive", "_task", "gone")

    def __init__(self, metering: "Metering", receive: Receive) -> None:
        self._metering = metering
        self._receive = receive
        self._task: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._cancelling = 0
        self.gone = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._metering.watches.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._metering.watches.discard(self)
        if self._listener is not None:
            self._listener.cancel()
        if not self.gone:
            return
        assert self._task is not None
        if self._task.uncancel() <= self._cancelling and (kind is None or kind is asyncio.CancelledError):
            raise ClientGone from error

    def listen(self) -> None:
        """Begins to listen."""
        self._metering.watches.discard(self)
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        assert self._task is not None
        self._task.cancel()
