"""One shop for all tests of this folder: its processes start once."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the servers that the shop runs on."""
    for item in items:
        if {"shop", "caller"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("postgres")
            item.add_marker("kafka")


@pytest.fixture(scope="package")
def shop_and_doomed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, Doomed]]:
    """A running shop, in which one API was killed in mid-stream already."""
    server_url = os.environ.get(DATABASE_VARIABLE) or _started(request, "started_postgres").url
    kafka = os.environ.get(KAFKA_VARIABLE) or _started(request, "started_kafka").bootstrap_servers
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
def shop(shop_and_doomed: tuple[Shop, Doomed]) -> Shop:
    """A running shop."""
    return shop_and_doomed[0]


@pytest.fixture
def doomed(shop_and_doomed: tuple[Shop, Doomed]) -> Doomed:
    """The stream whose API was killed."""
    return shop_and_doomed[1]


@pytest.fixture
async def caller(shop: Shop) -> AsyncIterator[Caller]:
    """Clients of the shop."""
    async with clients(shop) as opened:
        yield opened


def _started(request: pytest.FixtureRequest, name: str) -> Any:
    """The run's server; a test before this one may have left it killed."""
    server: PostgresServer | KafkaServer = request.getfixturevalue(name)
    if not server.is_running:
        server.kill()
        server.start()
    return server


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs to the end in a loop of its own, in a thread of its own: this one's loop belongs to the tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
