"""What a client of Kafka does not see to itself: how often it asks its brokers, and how it is ended.

That is in time and with nothing of it left, whatever state its brokers or it are in.
"""

# ruff: noqa: SLF001  # the client has no other way to be ended for certain; a test breaks each of these parts

import asyncio
from time import monotonic
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

PART_S = 1.0
"""How long a client may take for each step where it did not end as a whole."""
METADATA_PAUSE_S = 0.1
"""Between two questions for metadata, however much a client wants to know."""

Client = TypeVar("Client", AIOKafkaConsumer, AIOKafkaProducer)


def paced(client: Client) -> Client:
    """The same client, which asks for metadata at most so often.

    While a partition has no leader it would ask again as soon as it was answered or refused: some ten thousand times a
    second while its only broker starts, each with two lines in the log.
    """
    connected, _ = _parts(client)
    ask, ended_at = connected._metadata_update, float("-inf")

    async def ask_later(cluster: Any, topics: Any) -> bool:
        nonlocal ended_at
        await asyncio.sleep(ended_at + METADATA_PAUSE_S - monotonic())
        try:
            updated: bool = await ask(cluster, topics)
            return updated
        finally:
            ended_at = monotonic()

    connected._metadata_update = ask_later
    return client


def hear_commits(consumer: AIOKafkaConsumer) -> None:
    """Of a consumer that was started: a commit that nobody waits for any more may fail, and that is no news.

    It goes on behind a shield when its caller has given it up, and asyncio would tell of an error not looked at.
    """
    commit = consumer._coordinator._do_commit_offsets

    def begun(assignment: Any, offsets: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(commit(assignment, offsets))
        task.add_done_callback(_look_at)
        return task

    consumer._coordinator._do_commit_offsets = begun


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
        _hear(client)
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
    connected, parts = _parts(client)
    tasks = [task for part in parts for task in _tasks(part)]
    writers = [each._writer for each in connected._conns.values() if each._writer is not None]
    for task in tasks:
        task.cancel()
    await _over(asyncio.gather(*tasks, return_exceptions=True), PART_S)
    await _over(asyncio.create_task(connected.close()), PART_S)
    for writer in writers:
        # Closed politely, a socket waits for its broker to take what was written, which one that hangs does not.
        writer.transport.abort()


def _hear(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Looks at what its tasks broke by: its own `stop` passes over those that are over, and asyncio tells of each."""
    for part in _parts(client)[1]:
        for task in _tasks(part):
            if task.done():
                _look_at(task)


def _look_at(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


def _parts(client: AIOKafkaConsumer | AIOKafkaProducer) -> tuple[Any, list[Any]]:
    """Its connections, and all of its parts that there are."""
    of_consumer = isinstance(client, AIOKafkaConsumer)
    connected = client._client if of_consumer else client.client
    parts = (connected, client._coordinator, client._fetcher) if of_consumer else (connected, client._sender)
    return connected, [part for part in parts if part is not None]


def _tasks(part: object) -> list["asyncio.Task[Any]"]:
    """Those that a part of a client holds, by themselves or in sets."""
    held = [each if isinstance(each, set) else [each] for each in vars(part).values()]
    return [each for some in held for each in some if isinstance(each, asyncio.Task)]
