"""Months that renew by themselves, for many accounts at once, while workers are killed: each period is granted once."""

import asyncio
import time
from collections import Counter, defaultdict

import asyncpg
import pytest

from api.command_log.kafka_bus import KafkaBus
from api.ids import derived, random_hex
from domain.account.subscription import ConfirmSubscription
from domain.account.subscription_period import end_of, month_from
from domain.envelope import Envelope, Header
from domain.instant import DAY, Instant
from domain.month import day_of
from eventstore.codec import encode_command
from eventstore.shards import shard_of
from tests.crash.deployment import Deployment
from tests.crash.load import ACTOR
from tests.crash.site import Site
from tests.crash.waiting import until, until_true
from tests.domain.account.subscribing import terms

pytestmark = pytest.mark.crash

ACCOUNTS = 400
KILLS = 2
MONTHLY = 2_000
RENEWED = "SELECT count(*) FROM events WHERE type = 'subscription.renewed'"
PERIODS = """
SELECT stream, type, payload ->> 'period_start' AS period_start, payload ->> 'grant_id' AS grant_id
FROM (SELECT stream, type, convert_from(payload, 'UTF8')::json AS payload FROM events) AS events
WHERE type IN ('subscription.renewed', 'credits.granted')
"""


def _names() -> list[str]:
    return [f"account:user_{derived('month', str(number)).replace('-', '')}" for number in range(ACCOUNTS)]


async def _subscribe(deployment: Deployment, start: Instant) -> None:
    """A plan for each account whose first period is over long ago."""
    bus = KafkaBus((deployment.kafka,), deployment.topic, deployment.shards)
    await bus.start()
    command = ConfirmSubscription(
        plan="pro",
        status="active",
        terms=terms(MONTHLY),
        occurred_at=start,
        reference="r",
        period_start=start,
        renews_by_itself=True,
    )

    async def send(stream: str) -> None:
        header = Header(
            id=derived(stream, "confirm"),
            attempt=random_hex(),
            stream=stream,
            account=stream.partition(":")[2],
            actor=ACTOR,
            issued_at=time.time_ns() // 1_000,
        )
        record = encode_command(Envelope(header=header, body=command))
        await bus.send(shard_of(stream, deployment.shards), stream.encode(), record)

    await asyncio.gather(*(send(stream) for stream in _names()))
    await bus.stop()


def _due(start: Instant, now: Instant) -> list[Instant]:
    """When the periods after the first begin that have begun by now."""
    found, at = [], month_from(start)
    while at <= now:
        found.append(at)
        at = end_of(at, day_of(start))
    return found


async def test_a_month_of_renewals_outlives_its_workers(site: Site) -> None:
    """Killed in the middle of it, twice; whoever is left renews the rest, and nothing that was renewed again."""
    deployment = site.deployment
    now = time.time_ns() // 1_000
    start = now - 100 * DAY
    periods = _due(start, now)
    for _ in range(KILLS + 1):
        deployment.start_worker()
    await until_true(lambda: all(each.worker_name for each in deployment.workers()), 30, "the workers run")
    await _subscribe(deployment, start)
    async with asyncpg.create_pool(deployment.database_url, min_size=1, max_size=1) as pool:
        done = 0
        for _ in range(KILLS):
            seen = done

            async def more(seen: int = seen) -> int:
                count: int = await pool.fetchval(RENEWED)
                return count if count > seen else 0

            done = await until(more, 30, "accounts are renewed", poll_s=0.002)
            if done < ACCOUNTS * len(periods):
                (await site.in_round()).process.kill()
        assert len(deployment.workers()) < KILLS + 1, "one was killed in the middle of it"

        async def all_done() -> bool:
            return bool(await pool.fetchval(RENEWED) >= ACCOUNTS * len(periods))

        await until(all_done, 30, "all accounts are renewed")
        rows = await pool.fetch(PERIODS)
    renewed, grants = defaultdict(list), Counter[tuple[str, str]]()
    for row in rows:
        if row["type"] == "subscription.renewed":
            renewed[row["stream"]].append(int(row["period_start"]))
        else:
            grants[row["stream"], row["grant_id"]] += 1
    assert {stream: sorted(found) for stream, found in renewed.items()} == dict.fromkeys(_names(), periods)
    due = [start, *periods]
    assert grants == Counter((stream, f"plan_{each}_{MONTHLY}") for stream in _names() for each in due)
