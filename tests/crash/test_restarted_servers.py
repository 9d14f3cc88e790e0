"""Kafka and PostgreSQL go away and come back under load: everything recovers by itself."""

import asyncio
import random

import pytest

from devnet.servers import KafkaServer, PostgresServer
from tests.crash.site import Site
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

RECOVERED_S = 30.0


async def test_kafka_restarted_under_load(site: Site, kafka_server: KafkaServer, rng: random.Random) -> None:
    """Stopped or killed, no process is started again, and every command that was acknowledged is applied once."""
    workers = await site.workers(2)
    await site.begin()
    await asyncio.to_thread(rng.choice((kafka_server.kill, kafka_server.stop)))
    await asyncio.to_thread(kafka_server.start)
    await site.load.more(300, RECOVERED_S)
    await _applies_again(site)
    assert site.deployment.workers() == workers
    assert site.load.refusals > 0
    await site.finish()


async def test_postgres_restarted_under_load(site: Site, postgres_server: PostgresServer) -> None:
    """Stopped, then killed: what was committed is there, and what waits in Kafka meanwhile is applied afterwards."""
    workers = await site.workers(2)
    await site.begin()
    for end in (postgres_server.stop, postgres_server.kill):
        await asyncio.to_thread(end)
        await site.load.more(200)
        await asyncio.to_thread(postgres_server.start)
        await _applies_again(site)
    assert site.deployment.workers() == workers
    await site.finish()


async def _applies_again(site: Site) -> None:
    """Returns once workers have applied something that was sent after the restart."""
    goal = site.load.records

    async def reached() -> bool:
        return (await site.observer.applied() or 0) > goal

    await until(reached, RECOVERED_S, f"record {goal} is applied")
