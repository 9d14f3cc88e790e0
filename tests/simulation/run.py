"""Runs one seed: trouble while clients ask, then calm until all is applied, then the whole truth."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tests.simulation.clients import Client
from tests.simulation.oracle import Oracle, check_holds
from tests.simulation.watch import Broken
from tests.simulation.world import World, at_once
from worker import deciding

STEPS_TROUBLED = 20_000
STEPS_CALM = 20_000
SNAPSHOT_EVERY = 5
"""Events between two snapshots, here; so small that every seed restores some."""


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines, and frequent snapshots, while seeds run."""
    before, kept = structlog.get_config(), deciding.SNAPSHOT_EVERY
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    deciding.SNAPSHOT_EVERY = SNAPSHOT_EVERY
    try:
        yield
    finally:
        structlog.configure(**before)
        deciding.SNAPSHOT_EVERY = kept


def run_seed(seed: int) -> World:
    """Answers the world as it is in the end. `Broken` where an invariant does not hold."""
    world = World(seed)
    for _ in range(world.random.choice((1, 2, 3))):
        world.start_worker()
    clients = [Client(world, world.random.choice((2, 4, 7))) for _ in range(world.random.choice((1, 2, 3)))]
    world.clients = len(clients)
    for number, client in enumerate(clients):
        world.scheduler.spawn("clients", f"client-{number}", client.run())
    scheduler = world.scheduler
    if not scheduler.run_until(lambda: world.clients == 0, STEPS_TROUBLED, world.misfortune):
        raise Broken(f"the clients were not done after {STEPS_TROUBLED} steps: {world.happened}")
    world.calm()
    if not scheduler.run_until(world.settled, STEPS_CALM, lambda: None):
        raise Broken(f"stuck: {at_once(world.store.shard_heads())}, log {[len(each) for each in world.log.records]}")
    for name in list(world.workers):
        world.kill(name)
    world.store.look()
    at_once(Oracle(world).check())
    at_once(check_holds(world))
    return world
