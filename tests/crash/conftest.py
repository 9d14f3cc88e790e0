"""A deployment for each test: its own database and topic on the run's one PostgreSQL and one Kafka.

Tests of the API share one, the shop, which lives until the last of them: it sees every server restart in between.
"""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from devnet.servers import (
    DATABASE_VARIABLE,
    KAFKA_VARIABLE,
    KafkaServer,
    PostgresServer,
    create_database,
    drop_database,
)
from tests.crash.api.doomed import Doomed, kill_in_stream
from tests.crash.api.shop import Caller, Shop, clients, open_shop
from tests.crash.deployment import Deployment
from tests.crash.site import Site, open_site

SEED_VARIABLE = "FORMSTATE_TEST_SEED"
T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of the shop by the servers that it runs on."""
    for item in items:
        if "caller" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")
            item.add_marker("kafka")


@pytest.fixture(scope="session")
def started_postgres(durable_postgres: PostgresServer) -> PostgresServer:
    """Commits take the time that they take in production: some kills shall hit them."""
    return durable_postgres


@pytest.fixture
def seed() -> str:
    """Where random moments come from: printed, and given by the environment to have them again."""
    chosen = os.environ.get(SEED_VARIABLE) or secrets.token_hex(4)
    print(f"random moments of {SEED_VARIABLE}={chosen}")
    return chosen


@pytest.fixture
def rng(seed: str) -> random.Random:
    """The source of random moments."""
    return random.Random(seed)


@pytest.fixture
def deployment(tmp_path: Path, database_url: str, kafka: str) -> Iterator[Deployment]:
    """Migrated, with no process running yet."""
    made = Deployment(tmp_path, database_url=database_url, kafka=kafka)
    made.migrate()
    yield made
    made.end()
    print("\n".join(made.report()))


@pytest.fixture
async def site(deployment: Deployment, seed: str) -> AsyncIterator[Site]:
    """The deployment with an observer and a load that has not begun."""
    async with open_site(deployment, seed) as opened:
        yield opened


@pytest.fixture(scope="package")
def shop_and_doomed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, Doomed]]:
    """A running shop, in which one API was killed in mid-stream already."""
    server_url = os.environ.get(DATABASE_VARIABLE) or _running(request.getfixturevalue("started_postgres")).url
    kafka = os.environ.get(KAFKA_VARIABLE) or _running(request.getfixturevalue("started_kafka")).bootstrap_servers
    database_url = _run(create_database(server_url))
    shop = open_shop(tmp_path_factory.mktemp("shop"), database_url=database_url, kafka=kafka)
    try:
        _run(shop.start())
        yield shop, _run(kill_in_stream(shop))
    finally:
        print("\n".join(shop.deployment.report()))
        shop.deployment.end()
        _run(drop_database(server_url, database_url))


@pytest.fixture
def doomed(shop_and_doomed: tuple[Shop, Doomed]) -> Doomed:
    """The stream whose API was killed."""
    return shop_and_doomed[1]


@pytest.fixture
async def caller(shop_and_doomed: tuple[Shop, Doomed]) -> AsyncIterator[Caller]:
    """Clients of the shop."""
    async with clients(shop_and_doomed[0]) as opened:
        yield opened


Server = TypeVar("Server", KafkaServer, PostgresServer)


def _running(server: Server) -> Server:
    """The run's server; a test before this one may have left it killed."""
    if not server.is_running:
        server.kill()
        server.start()
    return server


def _run(work: Coroutine[None, None, T]) -> T:
    """Runs to the end in a loop of its own, in a thread of its own: this one's loop belongs to the tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
