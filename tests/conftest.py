"""Real servers for the tests that ask for one, and for those alone.

A test that takes `database_url` or `kafka` is marked `postgres` or `kafka` by that: `-m "not kafka"` works.
"""

import asyncio
import gc
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import uvicorn.server

from devnet.servers import (
    DATABASE_VARIABLE,
    KAFKA_VARIABLE,
    KafkaServer,
    PostgresServer,
    ServerUnavailableError,
    create_database,
    drop_database,
    scratch_folder,
)

# No deadline: a shared machine pauses. The blob lets a failing example be run again alone.
# CI tries the same examples each time, so that a red run speaks of its change; a developer's runs look for new ones.
hypothesis.settings.register_profile(
    "formstate", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("formstate")


class _Asyncio:
    """What uvicorn's server sees of asyncio: the same, but that it sleeps a tenth as long.

    It looks every 0.1 s whether it should end, and then waits as long once or twice more. The tests start a thousand
    servers, one after the other: that was a quarter of a second for each in which nothing happened.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay / 10)


vars(uvicorn.server)["asyncio"] = _Asyncio()

Prepare = Callable[[str], Awaitable[None]]
_MARKED_BY_FIXTURE = {"postgres": {"postgres_server", "database_url"}, "kafka": {"kafka_server", "kafka"}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the servers it asks for, and put the files that take long first.

    Begun last, one of them would run on alone when the other processes of the run have nothing left to do.
    """
    for item in items:
        for marker, fixtures in _MARKED_BY_FIXTURE.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(marker)
    long = {item.path for item in items for marker in ("crash", "slow") if item.get_closest_marker(marker)}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where this run's servers keep their data and logs."""
    with scratch_folder("test") as folder:
        yield folder


@pytest.fixture(scope="session")
def started_postgres(server_folder: Path) -> Iterator[PostgresServer]:
    """The run's own PostgreSQL; tests ask for `postgres_server`.

    It does not wait for the disk: to drop one of the many databases takes 8 ms instead of up to 2 s beside a busy one.
    """
    server = PostgresServer(server_folder / "postgres", settings={"fsync": "off"})
    _start(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def durable_postgres(server_folder: Path) -> Iterator[PostgresServer]:
    """One as in production, for tests of what lasts and of rounds that are killed while they commit.

    They say `started_postgres` is this one.
    """
    server = PostgresServer(server_folder / "durable")
    _start(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def started_kafka(server_folder: Path) -> Iterator[KafkaServer]:
    """The run's own broker; tests ask for `kafka_server`."""
    server = KafkaServer(server_folder / "kafka")
    _start(server)
    yield server
    server.stop()


@pytest.fixture
def postgres_server(started_postgres: PostgresServer) -> PostgresServer:
    """A running PostgreSQL that is ours alone: a test may kill it, the next one finds it running again."""
    if not started_postgres.is_running:
        started_postgres.kill()
        started_postgres.start()
    return started_postgres


@pytest.fixture
async def kafka_server(started_kafka: KafkaServer) -> AsyncIterator[KafkaServer]:
    """A running broker that is ours alone: a test may kill it, and the next one finds it running again."""
    if not started_kafka.is_running:
        started_kafka.kill()
        started_kafka.start()
    before = started_kafka.pid
    yield started_kafka
    if not started_kafka.is_running or started_kafka.pid != before:
        # The client may forget a connection whose broker has just gone. It is closed when it is collected, for which
        # its loop must still be there, as it is in a process that goes on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
            await asyncio.sleep(0)


@pytest.fixture
def prepare() -> Prepare | None:
    """What makes an empty database ready for a folder's tests: done once, each test has a copy. `None`: it is empty."""
    return None


@pytest.fixture(scope="session")
def templates() -> Iterator[dict[tuple[str, Prepare], str]]:
    """The databases that were made ready, by server and by what made them so; dropped in the end."""
    made: dict[tuple[str, Prepare], str] = {}
    yield made
    if named := os.environ.get(DATABASE_VARIABLE):  # our own servers go as a whole
        for url in made.values():
            asyncio.run(drop_database(named, url))


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest, templates: dict[tuple[str, Prepare], str], prepare: Prepare | None
) -> AsyncIterator[str]:
    """A fresh database, dropped afterwards; on the server that the environment names, if any. See `prepare`."""
    server_url = os.environ.get(DATABASE_VARIABLE) or request.getfixturevalue("postgres_server").url
    if prepare is None:
        url = await create_database(server_url)
    else:
        if (server_url, prepare) not in templates:
            empty = await create_database(server_url)
            await prepare(empty)
            templates[server_url, prepare] = empty
        url = await create_database(server_url, template=urlsplit(templates[server_url, prepare]).path.lstrip("/"))
    yield url
    await drop_database(server_url, url)


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> str:
    """Bootstrap servers, ours or those that the environment names. Take topics from `unique_topic`."""
    named = os.environ.get(KAFKA_VARIABLE)
    return named or str(request.getfixturevalue("kafka_server").bootstrap_servers)


def _start(server: PostgresServer | KafkaServer) -> None:
    """Start; on a machine that cannot have the server skip what needs it, loudly, but fail in CI."""
    try:
        server.start()
    except ServerUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test on real servers: {error}", pytrace=False)
        pytest.skip(f"NOT TESTED: {error}")
