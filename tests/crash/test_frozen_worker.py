"""I3: a worker that stands still past its lease loses its shards, and can commit nothing when it wakes up."""

import time

import pytest

from tests.crash.deployment import Process
from tests.crash.site import Site
from tests.crash.waiting import until, until_true

pytestmark = pytest.mark.crash

LOCKED_S = 0.2
"""Short enough for batches to stay large: those that take long are halved."""
TAKEN_OVER_S = 5.0
"""The lease of 3 s, and what it takes to notice and to end a backend that holds the row."""


async def test_a_worker_frozen_in_mid_copy_holds_up_nobody_and_commits_nothing(site: Site) -> None:
    """SIGSTOP in mid-COPY: the other worker commits on those shards within 5 s, and the first one's round is undone."""
    await site.workers(2)
    await site.begin()
    frozen, xid = await _freeze_in_copy(site)
    frozen_at = time.monotonic()
    before = await site.observer.positions()
    shards = {shard for shard, owner in (await site.observer.owners()).items() if owner == frozen.worker_name}
    assert shards

    async def moved_on() -> set[int]:
        now = await site.observer.positions()
        return {shard for shard in shards if now[shard] > before[shard]}

    async def all_moved_on() -> bool:
        return await moved_on() == shards

    await until(moved_on, TAKEN_OVER_S, f"another worker commits on {sorted(shards)}")
    print(f"the first of {len(shards)} shards moved on after {time.monotonic() - frozen_at:.1f} s")
    await until(all_moved_on, 2 * TAKEN_OVER_S, f"another worker commits on all of {sorted(shards)}")
    assert await site.observer.fate(xid) == "aborted"

    frozen.thaw()
    await until_true(lambda: bool(frozen.logged("shards_lost")), 10, "the first worker knows that it was fenced")
    await site.even()
    assert frozen.alive
    assert await site.observer.fate(xid) == "aborted"
    await site.finish()


async def test_a_worker_frozen_between_two_rounds_is_fenced_when_it_wakes_up(site: Site) -> None:
    """SIGSTOP with nothing open: what it had fetched before is not applied again on top of what others did since."""
    first = (await site.workers(2))[0]
    await site.begin()
    await until(lambda: _frozen_between_rounds(site, first), 30, "the worker stands still with no round open")
    rest = [each for each in site.deployment.workers() if each is not first]
    await until(lambda: site.alone(rest), 10, "the other worker has all shards")
    await site.load.more(200)
    first.thaw()
    await site.even()
    assert first.alive
    assert first.logged("shards_lost")
    await site.finish()


async def _frozen_between_rounds(site: Site, worker: Process) -> bool:
    """Stops the worker, and lets it go on if that was inside of a round."""
    worker.freeze()
    if await site.observer.transactions([worker]):
        worker.thaw()
        return False
    return True


async def _freeze_in_copy(site: Site) -> tuple[Process, str]:
    """Stops a worker whose COPY the server has begun and that has sent no data yet; the process and its transaction.

    Only large batches are copied, so the workers stand still until there is a backlog. A lock on the table then keeps
    each COPY from beginning for the moment that SIGSTOP takes.
    """
    workers = site.deployment.workers()
    for worker in workers:
        worker.freeze()
    await site.load.more(1_000)
    for worker in workers:
        worker.thaw()

    async def caught() -> Process | None:
        async with site.observer.events_locked():
            end = time.monotonic() + LOCKED_S
            while time.monotonic() < end:
                for each in await site.observer.transactions(workers):
                    if each.step == "copy" and each.wait_event == "relation":
                        each.process.freeze()
                        return each.process
        return None

    process = await until(caught, 30, "a COPY waits for its table")
    assert process is not None
    in_copy = await site.in_round("copy", of=process, waits_for="ClientRead")
    assert in_copy.xid is not None
    return process, in_copy.xid
