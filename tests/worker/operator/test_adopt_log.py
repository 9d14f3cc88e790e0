"""A recreated topic and a restored older database are noticed, never skipped, and `adopt-log` goes on from there."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from devnet.servers import unique_topic
from domain.envelope import Envelope
from eventstore.clock import system_clock
from eventstore.command_topic import create_topic
from eventstore.errors import Unavailable
from eventstore.records import ShardHead
from tests.crash.waiting import until
from tests.worker.operator.yard import SHARDS, Yard, grant, kafka_yard
from worker.adopt_log import adopt_log
from worker.verify import verify

pytestmark = pytest.mark.slow

ACCOUNTS = [f"account:user_{number}" for number in range(8)]
"""On every shard there is one of them at least."""


@pytest.fixture
async def kafka_log(database_url: str, kafka: str, logged: list[MutableMapping[str, Any]]) -> AsyncIterator[Yard]:
    """A real PostgreSQL and a topic in a real Kafka, with no worker running."""
    async with kafka_yard(database_url, kafka, unique_topic()) as made:
        yield made


async def _grant_all(yard: Yard, reference: str, deadline_s: float | None = None) -> list[Envelope]:
    deadline = None if deadline_s is None else system_clock() + int(deadline_s * 1_000_000)
    return [await yard.ask(each, grant(each.partition(":")[2], reference), deadline=deadline) for each in ACCOUNTS]


async def _applied(yard: Yard, sent: list[Envelope]) -> None:
    for each in sent:
        outcome = await yard.outcome(each)
        assert outcome.status == "applied", bytes(outcome.data)


async def _recreate(yard: Yard) -> None:
    """What an operator's mistake does to the topic."""
    servers, topic = yard.settings.kafka_bootstrap_servers, yard.settings.kafka_topic
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers))
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await until(gone, 20, "the topic is gone")
    finally:
        await admin.close()

    async def made() -> bool:
        return await create_topic(servers, topic, SHARDS)

    await until(made, 20, "the topic is there again")


async def _all_stopped(yard: Yard, reason: str) -> None:
    async def stopped() -> bool:
        try:
            heads = await yard.store.shard_heads()
        except Unavailable:
            return False
        return all((head.stopped or "").startswith(reason) for head in heads)

    await until(stopped, 45, f"every shard says {reason}")


async def _pass(deadlines_of: list[Envelope]) -> None:
    """Waits until the deadlines are over."""
    last = max(envelope.header.deadline or 0 for envelope in deadlines_of)

    async def over() -> bool:
        return system_clock() > last

    await until(over, 20, "the deadlines have passed")


async def _adopt(yard: Yard, reason: str) -> None:
    """First without `--yes`, which does nothing, then with it."""
    said = await adopt_log(yard.settings, yes=False)
    assert f"shard 0: {reason}: applies" in said
    assert "Nothing was done yet" in said
    assert all(head.stopped for head in await yard.store.shard_heads())
    assert (await adopt_log(yard.settings, yes=True)).endswith("Done.")
    assert await adopt_log(yard.settings, yes=True) == "no shard has stopped for its log"


async def test_a_recreated_topic_under_a_running_worker(kafka_log: Yard) -> None:
    """The worker notices by itself; after `adopt-log` every command of the new log is applied, however late."""
    yard = kafka_log
    async with yard.working():
        before = await _grant_all(yard, "before")
        await _applied(yard, before)
        await _recreate(yard)
        await _all_stopped(yard, "log_recreated")
        late = await _grant_all(yard, "late", deadline_s=0.2)
        repeated = [await yard.send(each) for each in before]
        await _pass(late)
        await _adopt(yard, "log_recreated")
        await _applied(yard, [*repeated, *late, *await _grant_all(yard, "after")])
    assert "no difference" in await verify(yard.settings)
    assert await _events(yard) == 3 * len(ACCOUNTS)


async def test_a_topic_that_has_outgrown_the_old_one(kafka_log: Yard) -> None:
    """No offset is out of range, but the records are others: noticed when shards are claimed, nothing is skipped."""
    yard = kafka_log
    async with yard.working():
        await _applied(yard, await _grant_all(yard, "before"))
    await _recreate(yard)
    late = [*await _grant_all(yard, "a", deadline_s=0.2), *await _grant_all(yard, "b"), *await _grant_all(yard, "c")]
    await _pass(late)
    async with yard.working():
        await _all_stopped(yard, "log_recreated")
        await _adopt(yard, "log_recreated")
        await _applied(yard, late)
    assert "no difference" in await verify(yard.settings)
    assert await _events(yard) == 4 * len(ACCOUNTS)


async def test_an_older_database_under_a_running_worker(kafka_log: Yard) -> None:
    """What the backup has not seen is applied again from the log, whatever its deadlines; what it has seen is not."""
    yard = kafka_log
    async with yard.working():
        first = await _grant_all(yard, "first")
        await _applied(yard, first)
    async with _Backup(yard) as backup:
        async with yard.working():
            second = await _grant_all(yard, "second", deadline_s=5)
            await _applied(yard, second)
            await _committed(yard)
            await _pass(second)
            await backup.restore()
            await _all_stopped(yard, "store_restored")
            await _adopt(yard, "store_restored")
            await _applied(yard, [*first, *second, *await _grant_all(yard, "third")])
        assert "no difference" in await verify(yard.settings)
        assert await _events(yard) == 3 * len(ACCOUNTS)


async def test_an_older_database_at_the_next_start(kafka_log: Yard) -> None:
    """The same, noticed when shards are claimed."""
    yard = kafka_log
    async with yard.working():
        await _applied(yard, await _grant_all(yard, "first"))
    async with _Backup(yard) as backup:
        async with yard.working():
            second = await _grant_all(yard, "second")
            await _applied(yard, second)
        await backup.restore()
        async with yard.working():
            await _all_stopped(yard, "store_restored")
            await _adopt(yard, "store_restored")
            await _applied(yard, second)
        assert "no difference" in await verify(yard.settings)


async def test_no_false_alarm_under_load(kafka_log: Yard) -> None:
    """While offsets are committed between the recheck's questions no shard is ever stopped."""
    yard = kafka_log
    seen: list[ShardHead] = []
    async with yard.working():
        await yard.fill(accounts=8, operations=20)
        async with yard.load(accounts=8) as sent:

            async def looked_at_all() -> bool:
                seen.extend(head for head in await yard.store.shard_heads() if head.stopped)
                await asyncio.sleep(0.02)
                return len(sent) > 1_500

            await until(looked_at_all, 60, "a good load")
    assert seen == []


async def _events(yard: Yard) -> int:
    return sum(head.seq for head in await yard.store.shard_heads())


async def _committed(yard: Yard) -> None:
    """Waits until the offsets are where the lag tools see them."""
    source = yard.source()

    async def done() -> bool:
        heads = await yard.store.shard_heads()
        bounds = [await source.bounds(head.shard) for head in heads]
        return all(each.committed == head.next_offset for each, head in zip(bounds, heads, strict=True))

    try:
        await until(done, 20, "offsets committed")
    finally:
        await source.close()


class _Backup:
    """A copy of the database at the beginning of the block, which can take its place."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._url = yard.settings.database_url
        self._name = urlsplit(self._url).path.lstrip("/")

    async def __aenter__(self) -> Self:
        await self._copy(self._name, f"{self._name}_backup")
        return self

    async def restore(self) -> None:
        """What an operator does after a disk was lost."""
        await self._execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')
        await self._copy(f"{self._name}_backup", self._name)

    async def _copy(self, source: str, target: str) -> None:
        async def copied() -> bool:
            await self._execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"  # noqa: S608
            )
            try:
                await self._execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')
            except asyncpg.ObjectInUseError:
                return False
            return True

        await until(copied, 20, f"{target} copied from {source}")

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(urlsplit(self._url)._replace(path="/postgres").geturl())
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def __aexit__(self, *_: object) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{self._name}_backup" WITH (FORCE)')
