"""How a client of Kafka is ended: in time, and with nothing of it left, whatever state its brokers or it are in."""

# ruff: noqa: SLF001  # the client has no other way to be ended for certain; a test breaks each of these parts

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

PART_S = 1.0
"""How long a client may take for each step where it did not end as a whole."""


async def end_client(client: AIOKafkaConsumer | AIOKafkaProducer, timeout_s: float) -> None:
    """Ends it, once it has sent what it has in hand, or after that time.

    A cancellation inside the client is not ours: taken for one, it would end whoever has called. Errors of Kafka are no
    news of a client that is no longer wanted; any other is raised.
    """
    await asyncio.sleep(0)  # a consumer that was just assigned has a task that must begin before it can be ended
    broke_by: BaseException | None = TimeoutError()
    try:
        broke_by = await _over(asyncio.create_task(client.stop()), timeout_s)
    finally:
        if broke_by is not None:
            await _end_parts(client)
    if broke_by is not None and not isinstance(broke_by, KafkaError | OSError):
        raise broke_by


async def _over(task: "asyncio.Future[Any]", timeout_s: float) -> BaseException | None:
    """Waits for it, and cancels it after that time. Answers what it broke by, `TimeoutError` if it was cancelled."""
    try:
        await asyncio.wait([task], timeout=timeout_s)
    finally:
        task.cancel()
    await asyncio.wait([task], timeout=PART_S)
    return task.exception() if task.done() and not task.cancelled() else TimeoutError()


async def _end_parts(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """The client's own `stop` gives up at the first part that breaks: its tasks and connections would stay for good."""
    of_consumer = isinstance(client, AIOKafkaConsumer)
    connected = client._client if of_consumer else client.client
    parts = (connected, client._coordinator, client._fetcher) if of_consumer else (connected, client._sender)
    tasks = [task for part in parts if part is not None for task in _tasks(part)]
    writers = [each._writer for each in connected._conns.values() if each._writer is not None]
    for task in tasks:
        task.cancel()
    await _over(asyncio.gather(*tasks, return_exceptions=True), PART_S)
    await _over(asyncio.create_task(connected.close()), PART_S)
    for writer in writers:
        # Closed politely, a socket waits for its broker to take what was written, which one that hangs does not.
        writer.transport.abort()


def _tasks(part: object) -> list["asyncio.Task[Any]"]:
    """Those that a part of a client holds, by themselves or in sets."""
    held = [each if isinstance(each, set) else [each] for each in vars(part).values()]
    return [each for some in held for each in some if isinstance(each, asyncio.Task)]
