"""How a client of Kafka is ended: in time, and with nothing of it left, whatever state its brokers or it are in."""

# ruff: noqa: SLF001  # the client has no other way to be ended for certain; a test walks each of these parts

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

PART_S = 1.0
"""How long each part may take of a client that did not end as a whole."""


async def end_client(client: AIOKafkaConsumer | AIOKafkaProducer, timeout_s: float) -> None:
    """Ends it, once it has sent what it has in hand, or after that time.

    A cancellation inside the client is not ours: taken for one, it would end whoever has called. Errors of Kafka are no
    news of a client that is no longer wanted; any other is raised.
    """
    await asyncio.sleep(0)  # a consumer that was just assigned has a task that must begin before it can be ended
    stopping = asyncio.create_task(client.stop())
    try:
        await _over(stopping, timeout_s)
    finally:
        if stopping.cancelled() or not stopping.done() or stopping.exception():
            await _end_parts(client)
    if not stopping.done() or stopping.cancelled():
        return
    error = stopping.exception()
    if error is not None and not isinstance(error, KafkaError | OSError):
        raise error


async def _over(task: "asyncio.Task[None]", timeout_s: float) -> None:
    """Waits for it, and cancels it after that time. What it raised is its own."""
    try:
        await asyncio.wait([task], timeout=timeout_s)
    finally:
        task.cancel()
    await asyncio.wait([task], timeout=PART_S)
    if task.done() and not task.cancelled():
        task.exception()  # so that nobody is told about an unread one


async def _end_parts(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """The client's own `stop` gives up at the first part that breaks: its tasks and connections would stay for good."""
    of_consumer = isinstance(client, AIOKafkaConsumer)
    parts = (client._coordinator, client._fetcher) if of_consumer else (client._sender,)
    connected = client._client if of_consumer else client.client
    writers = [each._writer for each in connected._conns.values() if each._writer is not None]
    endings: list[Coroutine[Any, Any, None]] = [each.close() for each in (*parts, connected) if each is not None]
    for ending in endings:
        await _over(asyncio.create_task(ending), PART_S)
    for writer in writers:
        # Closed politely, a socket waits for its broker to take what was written, which one that hangs does not.
        writer.transport.abort()
