"""One deployment for all tests of this folder."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from devnet.servers import DATABASE_VARIABLE, KAFKA_VARIABLE, create_database, drop_database
from tests.crash.api.shop import Caller, Shop, clients, open_shop
from tests.crash.conftest import _run, _running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of the deployment by the servers that it runs on; it takes long to start."""
    for item in items:
        if "shop" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")
            item.add_marker("kafka")
            item.add_marker("slow")


@pytest.fixture(scope="package")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Two APIs, two workers and a provider behind the models."""
    server_url = os.environ.get(DATABASE_VARIABLE) or _running(request.getfixturevalue("started_postgres")).url
    kafka = os.environ.get(KAFKA_VARIABLE) or _running(request.getfixturevalue("started_kafka")).bootstrap_servers
    database_url = _run(create_database(server_url))
    made = open_shop(tmp_path_factory.mktemp("production"), database_url=database_url, kafka=kafka)
    try:
        _run(made.start())
        yield made
    finally:
        print("\n".join(made.deployment.report()))
        made.deployment.end()
        _run(drop_database(server_url, database_url))


@pytest.fixture
async def caller(shop: Shop) -> AsyncIterator[Caller]:
    """A client of the deployment."""
    async with clients(shop) as opened:
        yield opened
