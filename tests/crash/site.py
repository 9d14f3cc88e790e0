"""A deployment under load and under observation, and what is done to it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from api.command_log.kafka_bus import KafkaBus
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from tests.crash.audit import Findings, audit
from tests.crash.deployment import Deployment, Process
from tests.crash.load import Load
from tests.crash.observer import Observer, Transaction, even_shares
from tests.crash.waiting import until, until_true

START_S = 90.0
CATCH_S = 0.003
"""How often one looks for a round: most last some milliseconds."""
SETTLE_S = 60.0
STEPS = ((), ("read",), ("write",), ("copy",), ("commit",))
"""Where a kill waits for its victim; without a step any will do."""
PATIENCE_S = 1.0


class Site(Struct, frozen=True, kw_only=True):
    """Everything that a crash test has in hand."""

    deployment: Deployment
    observer: Observer
    load: Load

    async def workers(self, count: int) -> list[Process]:
        """Starts workers, and returns once each has its share."""
        for _ in range(count):
            self.deployment.start_worker()
        await self.even()
        return self.deployment.workers()

    async def even(self) -> None:
        """Returns once the workers that live share all shards evenly."""
        workers = self.deployment.workers()
        shards = self.deployment.shards
        await until(lambda: self.alone(workers), START_S, f"{len(workers)} workers share {shards} shards evenly")

    async def begin(self) -> None:
        """Starts the load, and returns once it is well under way."""
        await self.load.start(self.observer.applied)
        await self.load.more(200)

    async def alone(self, workers: list[Process]) -> bool:
        """Tells whether these workers own all shards, evenly."""
        return await even_shares(self.observer, workers, self.deployment.shards)

    async def in_round(
        self, *steps: str, of: Process | None = None, waits_for: str | None = None, patience_s: float = START_S
    ) -> Transaction:
        """A worker's round that is open at this moment, in one of the steps if any are named.

        `waits_for` is what its backend waits for, as in `pg_stat_activity.wait_event`. After `patience_s` any
        step will do.
        """
        impatient = time.monotonic() + patience_s

        async def probe() -> Transaction | None:
            workers = [of] if of is not None else self.deployment.workers()
            open_now = await self.observer.transactions(workers)
            anyhow = not steps or time.monotonic() > impatient
            fitting = [each for each in open_now if anyhow or each.step in steps]
            return next((each for each in fitting if waits_for in (None, each.wait_event)), None)

        found = await until(probe, START_S, f"a round in {steps or 'any step'}", poll_s=CATCH_S)
        assert found is not None
        return found

    async def catch_up(self) -> None:
        """Ends the load, and returns once all of the log is applied."""
        await self.load.stop()
        ends = await log_ends(self.deployment)

        async def reached() -> bool:
            return await self.observer.positions() == ends

        await until(reached, SETTLE_S, "all of the log is applied")

    async def finish(self, *before: Load) -> Findings:
        """Catches up and audits everything, together with loads that were `before`; `verify` has to agree."""
        await self.catch_up()
        sent = {command_id: each for load in (*before, self.load) for command_id, each in load.sent.items()}
        store = await PostgresStore.open(self.deployment.database_url, OPERATOR)
        try:
            findings = await audit(store, self.deployment.macs, sent)
        finally:
            await store.close()
        verified = await asyncio.to_thread(self.deployment.operate, "verify")
        assert f"{findings.events}" in verified.replace(",", ""), verified
        return findings


@asynccontextmanager
async def open_site(deployment: Deployment, seed: str) -> AsyncIterator[Site]:
    """A site on a migrated deployment. Nothing runs yet; what is started is not ended here."""
    bus = KafkaBus((deployment.kafka,), deployment.topic, deployment.shards)
    await bus.start()
    pool = await asyncpg.create_pool(deployment.database_url, min_size=0, max_size=4)
    load = Load(bus, deployment.shards, seed=seed)
    try:
        yield Site(deployment=deployment, observer=Observer(pool), load=load)
    finally:
        load.abandon()
        await bus.stop()
        pool.terminate()


async def log_ends(deployment: Deployment) -> dict[int, int]:
    """The end of each partition."""
    async with AIOKafkaConsumer(bootstrap_servers=deployment.kafka) as consumer:
        places = [TopicPartition(deployment.topic, shard) for shard in range(deployment.shards)]
        return {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}


async def storm(site: Site, kills: int, rng: random.Random, *, workers: int = 3) -> Counter[str]:
    """Kills a worker in the middle of a round `kills` times, starting another at once; counts the steps it was in.

    The moment is random: some records after the last kill, at one of `STEPS`, and some looks at the database later.
    """
    steps: Counter[str] = Counter()
    for _ in range(kills):
        await site.load.more(rng.randrange(20, 200))
        caught = await site.in_round(*rng.choice(STEPS), patience_s=PATIENCE_S)
        for _ in range(rng.randrange(4)):
            now = await site.observer.transactions([caught.process])
            caught = next(iter(now), caught)
        caught.process.kill()
        steps[caught.step] += 1
        while len(site.deployment.workers()) < workers:
            site.deployment.start_worker()
    return steps


async def ended(process: Process, timeout_s: float) -> None:
    """Returns once the process has ended by itself."""
    await until_true(lambda: not process.alive, timeout_s, f"{process.name} ended")
