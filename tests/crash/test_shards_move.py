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
    assert leaving.worker_name not in await site.observer.owned(), "its shards are free at once, not after a lease"
    await site.even()
    await site.load.more(100)
    rng.choice(site.deployment.workers()).kill()
    await site.even()
    await site.load.more(100)
    assert len(site.deployment.workers()) == 2
    assert (await site.finish()).applied > 300
