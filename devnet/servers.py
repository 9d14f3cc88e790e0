"""Throw-away real servers, or the ones that the environment names, for tests, benchmarks and `make stack`.

    with scratch_folder() as folder, PostgresServer(folder / "postgres") as postgres:
        url = await create_database(postgres.url)

FORMSTATE_TEST_DATABASE_URL and FORMSTATE_TEST_KAFKA name existing servers to use instead.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from devnet.kafka_server import KafkaServer
from devnet.postgres_server import PostgresServer
from devnet.scratch import ServerStartError, ServerUnavailableError, free_port, scratch_folder

__all__ = [
    "KafkaServer",
    "PostgresServer",
    "ServerStartError",
    "ServerUnavailableError",
    "create_database",
    "drop_database",
    "free_port",
    "running_kafka",
    "running_postgres",
    "scratch_folder",
    "unique_topic",
]

DATABASE_VARIABLE = "FORMSTATE_TEST_DATABASE_URL"
KAFKA_VARIABLE = "FORMSTATE_TEST_KAFKA"


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """The address of the PostgreSQL in the environment, or else of one that runs in `folder` meanwhile."""
    if url := os.environ.get(DATABASE_VARIABLE):
        yield url
        return
    with PostgresServer(folder) as server:
        yield server.url


@contextlib.contextmanager
def running_kafka(folder: Path) -> Iterator[str]:
    """The bootstrap servers in the environment, or else of a broker that runs in `folder` meanwhile."""
    if bootstrap_servers := os.environ.get(KAFKA_VARIABLE):
        yield bootstrap_servers
        return
    with KafkaServer(folder) as server:
        yield server.bootstrap_servers


async def create_database(server_url: str, *, template: str = "template1") -> str:
    """Make a database with a name of its own, a copy of `template`, and return its address (20 ms).

    ServerUnavailableError with PostgreSQL's reason when it makes none, as on a full disk.
    """
    name = f"formstate_{secrets.token_hex(8)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    except asyncpg.PostgresError as error:
        raise ServerUnavailableError(f"PostgreSQL makes no database: {error}") from error
    finally:
        await connection.close()
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


async def drop_database(server_url: str, database_url: str) -> None:
    """Remove a database that `create_database` made, whoever is still connected to it."""
    name = urlsplit(database_url).path.lstrip("/")
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


def unique_topic(name: str = "formstate.commands") -> str:
    """A topic name that no other test uses: enough to share one broker."""
    return f"{name}.{secrets.token_hex(8)}"
