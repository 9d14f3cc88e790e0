"""I1, I2: kill -9 of workers in the middle of a batch, under load."""

import random

import pytest

from tests.crash.site import Site, storm

KILLS = 20

pytestmark = pytest.mark.crash


async def test_each_acknowledged_command_is_applied_once_whenever_workers_are_killed(
    site: Site, rng: random.Random
) -> None:
    """Twenty kills in mid-batch at random moments: nothing is lost, nothing doubled, every chain and sum is whole."""
    await site.workers(3)
    await site.begin()
    steps = await storm(site, KILLS, rng)
    findings = await site.finish()
    print(f"killed {dict(steps)}; {findings}")
    assert sum(steps.values()) == KILLS
    assert len(steps) >= 3, "kills have hit rounds at different steps"
    assert findings.applied > KILLS * 20
