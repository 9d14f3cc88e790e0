"""The throw-away servers are real: they start, answer, and keep what they acknowledged when killed."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from devnet.servers import (
    KafkaServer,
    PostgresServer,
    ServerStartError,
    ServerUnavailableError,
    create_database,
    drop_database,
    running_kafka,
    running_postgres,
    unique_topic,
)


@pytest.fixture(scope="session")
def started_postgres(durable_postgres: PostgresServer) -> PostgresServer:
    """The server with the settings that it has by itself."""
    return durable_postgres


async def test_postgres_answers(database_url: str) -> None:
    """A fresh database of version 18, with durable commits, that no other test has written to."""
    connection = await asyncpg.connect(database_url)
    try:
        assert (await connection.fetchval("SHOW server_version")).startswith("18.")
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()


async def test_a_database_that_is_not_made_is_told(postgres_server: PostgresServer) -> None:
    """PostgreSQL's own reason, as an error that `make stack` prints without a traceback."""
    with pytest.raises(ServerUnavailableError, match=r'PostgreSQL makes no database: .*"nothing" does not exist'):
        await create_database(postgres_server.url, template="nothing")


@pytest.mark.crash
async def test_postgres_keeps_what_it_committed_when_killed(postgres_server: PostgresServer) -> None:
    """Kill -9 of the server and all its backends loses no acknowledged commit; port and address stay."""
    url = await create_database(postgres_server.url)
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    first = postgres_server.pid
    await asyncio.to_thread(postgres_server.kill)
    connection.terminate()
    assert not postgres_server.is_running

    await asyncio.to_thread(postgres_server.start)
    assert postgres_server.pid != first
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT n FROM kept") == 7
    await connection.close()
    await drop_database(postgres_server.url, url)


async def test_kafka_answers(kafka: str) -> None:
    """A topic is made, a record acknowledged by all replicas and read back."""
    topic = unique_topic()
    await create_topic(kafka, topic)
    assert await produce(kafka, topic, b"one") == 0
    assert await read_first(kafka, topic) == b"one"


@pytest.mark.crash
async def test_kafka_keeps_what_it_acknowledged_when_killed(kafka_server: KafkaServer) -> None:
    """Kill -9 of the broker loses no acknowledged record; the address stays."""
    bootstrap_servers, topic = kafka_server.bootstrap_servers, unique_topic()
    await create_topic(bootstrap_servers, topic)
    await produce(bootstrap_servers, topic, b"one")
    await asyncio.to_thread(kafka_server.kill)
    assert not kafka_server.is_running

    await asyncio.to_thread(kafka_server.start)
    assert kafka_server.bootstrap_servers == bootstrap_servers
    assert await read_first(bootstrap_servers, topic) == b"one"
    assert await produce(bootstrap_servers, topic, b"two") == 1


def test_a_server_that_cannot_start_names_its_log(postgres_server: PostgresServer, server_folder: Path) -> None:
    """A port that is taken is an error at once, with the reason and where to read more."""
    second = PostgresServer(server_folder / "second", port=postgres_server.port)
    with pytest.raises(ServerStartError, match=r"postgres\.log(.|\n)*Address already in use"):
        second.start()


def test_servers_named_by_the_environment_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the two variables set nothing is started."""
    monkeypatch.setenv("FORMSTATE_TEST_DATABASE_URL", "postgresql://elsewhere/db")
    monkeypatch.setenv("FORMSTATE_TEST_KAFKA", "elsewhere:9092")
    with running_postgres(tmp_path) as url, running_kafka(tmp_path) as bootstrap_servers:
        assert (url, bootstrap_servers) == ("postgresql://elsewhere/db", "elsewhere:9092")
    assert list(tmp_path.iterdir()) == []


async def create_topic(bootstrap_servers: str, topic: str) -> None:
    """A topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def produce(bootstrap_servers: str, topic: str, value: bytes) -> int:
    """The offset at which the record was acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer:
        return int((await producer.send_and_wait(topic, value, partition=0)).offset)


async def read_first(bootstrap_servers: str, topic: str) -> bytes:
    """The first record's value."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        record = await asyncio.wait_for(consumer.getone(), 20)
        return bytes(record.value)
