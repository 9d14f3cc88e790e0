"""Workers come and go under load: the shards share themselves out, and no command is lost on the way (I1)."""

import random

import pytest

from tests.crash.site import Site

pytestmark = pytest.mark.crash


async def test_shards_share_out_evenly_as_workers_come_and_go(site: Site, rng: random.Random) -> None:
    """From one worker to four and back to two, by SIGTERM and by kill -9: shares are even each time."""
    await site.workers(1)
    await site.begin()
    for count in (1, 2):
        await site.workers(count)
        await site.load.more(100)
    leaving = rng.choice(site.deployment.workers())
    assert leaving.stop() == 0
    assert leaving.logged("worker_stopped")
    await site.even()
    await site.load.more(100)
    rng.choice(site.deployment.workers()).kill()
    await site.even()
    await site.load.more(100)
    assert len(site.deployment.workers()) == 2
    assert (await site.finish()).applied > 300


async def test_a_worker_that_leaves_gives_its_shards_back_at_once(site: Site) -> None:
    """SIGTERM needs no lease to run out: the other worker goes on with all shards in less time than that."""
    first, _ = await site.workers(2)
    await site.begin()
    assert first.stop() == 0
    owned = await site.observer.owned()
    assert first.worker_name not in owned
    await site.even()
    await site.finish()
