"""Notices leave once for each event, in order for each account, while the workers that send them are killed."""

import base64
import random
import secrets
import time

import pytest

from api.ids import random_hex
from domain.account.subscription import ConfirmSubscription
from domain.envelope import Envelope, Header
from eventstore import codec
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from eventstore.shards import shard_of
from tests.crash.load import ACTOR, Load, Sent
from tests.crash.site import Site
from tests.crash.waiting import until
from tests.worker.outgoing.logs import TERMS
from tests.worker.outgoing.receiver import Receiver, receiving
from worker.outgoing.notices import event_tags
from worker.outgoing.webhooks import notice

pytestmark = pytest.mark.crash

ACCOUNTS = 8
SENT_S = 75.0
"""A claim of a worker that was killed in the middle of an attempt ends after half a minute."""


async def test_killed_workers_lose_no_notice(site: Site, rng: random.Random) -> None:
    """From the first event of an empty log on; what a killed worker was sending comes again, and overtakes nothing."""
    async with receiving() as receiver:
        site.deployment.extra = {
            "FORMSTATE_WEBHOOK_URL": receiver.url,
            "FORMSTATE_WEBHOOK_SECRET": f"a:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        }
        accounts = [f"user_{random_hex()}" for _ in range(ACCOUNTS)]
        for number in range(ACCOUNTS):
            await _confirm(site.load, accounts[number], f"{number}", site.deployment.shards)
        await site.workers(2)
        await site.begin()
        for number in range(ACCOUNTS, 10 * ACCOUNTS):
            await _confirm(site.load, rng.choice(accounts), f"{number}", site.deployment.shards)
            if number in (3 * ACCOUNTS, 6 * ACCOUNTS):
                rng.choice(site.deployment.workers()).kill()
                site.deployment.start_worker()
        await site.catch_up()
        expected = await _log(site)
        assert len(expected) >= ACCOUNTS

        async def told() -> bool:
            return all(set(ids) <= set(_arrived(receiver).get(account, [])) for account, ids in expected.items())

        await until(told, SENT_S, "every notice has come")
    assert {account: _arrived(receiver)[account] for account in expected} == expected
    assert all(worker.stop() == 0 for worker in site.deployment.workers())


async def _confirm(load: Load, account: str, reference: str, shards: int) -> None:
    """Sends news of a subscription, and leaves it to the workers."""
    stream = f"account:{account}"
    at = time.time_ns() // 1_000
    plan = f"plan {reference}"  # one that is known already would be no news
    news = ConfirmSubscription(plan=plan, status="active", terms=TERMS, occurred_at=at, reference=reference)
    header = Header(id=random_hex(), attempt=random_hex(), stream=stream, account=account, actor=ACTOR, issued_at=at)
    sent = Sent(shard=shard_of(stream, shards), envelope=Envelope(header=header, body=news))
    await load._deliver(sent, sent.envelope)


async def _log(site: Site) -> dict[str, list[str]]:
    """By account the ids of the notices that its events make, in the log's order."""
    store = await PostgresStore.open(site.deployment.database_url, OPERATOR)
    found: dict[str, list[str]] = {}
    try:
        for head in await store.shard_heads():
            for stored in await store.events_of(head.shard, 0, head.seq, event_tags()):
                made = notice(head.shard, codec.recorded(stored), 0)
                assert made is not None
                found.setdefault(made.account, []).append(made.id)
    finally:
        await store.close()
    return found


def _arrived(receiver: Receiver) -> dict[str, list[str]]:
    """By account the ids that came, each where it came first."""
    found: dict[str, dict[str, None]] = {}
    for each in receiver.taken:
        found.setdefault(each.data["account_id"], {})[each.id] = None
    return {account: list(ids) for account, ids in found.items()}
