"""A log and a store that do not belong together: noticed before anything is applied, and mended by an operator."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from devnet.servers import create_database, drop_database
from eventstore.command_topic import create_topic
from tests.crash.deployment import Deployment
from tests.crash.load import Load
from tests.crash.site import Site, open_site
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

NOTICED_S = 20.0


async def test_recreated_topic_is_noticed_and_adopted(deployment: Deployment, seed: str) -> None:
    """Nothing of the new topic is skipped for having offsets that were applied before."""
    first = await _lived(deployment, f"{seed} first")
    await _recreate(deployment)
    async with open_site(deployment, f"{seed} second") as site:
        deployment.start_worker()
        await _noticed(site, "log_recreated")
        await site.load.start(site.observer.applied)
        await site.load.more(300)
        await _noticed(site, "log_recreated")
        said = await asyncio.to_thread(deployment.operate, "adopt-log", "--yes")
        assert "Done." in said, said
        await site.finish(first)


async def test_restored_older_database_is_noticed_and_caught_up(deployment: Deployment, seed: str) -> None:
    """What the lost database had applied since its backup is applied to the restored one, each command once."""
    first = await _lived(deployment, f"{seed} first")
    lost = deployment.database_url
    backup = await create_database(lost, template=lost.rpartition("/")[2])
    second = await _lived(deployment, f"{seed} second")
    deployment.database_url = backup
    async with open_site(deployment, f"{seed} third") as site:
        applied = await site.observer.applied()
        deployment.start_worker()
        await _noticed(site, "store_restored")
        assert await site.observer.applied() == applied
        said = await asyncio.to_thread(deployment.operate, "adopt-log", "--yes")
        assert "Done." in said, said
        await site.begin()
        await site.finish(first, second)
    deployment.end()
    await drop_database(lost, backup)


async def _lived(deployment: Deployment, seed: str) -> Load:
    """Some load, all of it applied; nothing runs afterwards."""
    async with open_site(deployment, seed) as site:
        [worker] = await site.workers(1)
        await site.begin()
        await site.catch_up()
        assert worker.stop() == 0
    return site.load


async def _noticed(site: Site, reason: str) -> None:
    """Returns once every shard has stopped for the reason; each of them has had commands."""

    async def all_stopped() -> bool:
        stopped = await site.observer.stopped()
        return len(stopped) == site.deployment.shards and all(why.startswith(reason) for why in stopped.values())

    await until(all_stopped, NOTICED_S, f"every shard has stopped: {reason}")


async def _recreate(deployment: Deployment) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.kafka)
    await admin.start()
    try:
        await admin.delete_topics([deployment.topic])

        async def gone() -> bool:
            return deployment.topic not in await admin.list_topics()

        await until(gone, NOTICED_S, "the topic is gone")
    finally:
        await admin.close()
    await create_topic((deployment.kafka,), deployment.topic, deployment.shards)
