"""The sweeper wakes accounts that nobody touches, once."""

import pytest

from api.account_plan import account_plan
from api.plans import load_plans
from domain.account.subscription import ConfirmSubscription
from domain.instant import DAY, SECOND
from eventstore.codec import decode_command
from projections.credits import get_credits
from projections.subscriptions import get_subscription
from tests.domain.account.asking import add, place, settle
from tests.domain.account.subscribing import news
from tests.shard_log import events_after
from tests.worker.bench import Bench
from worker.source import LogUnavailable
from worker.sweeper import SWEEP_AGAIN, SWEEP_MAX, Sweeper

PLANS = load_plans()
pytestmark = pytest.mark.usefixtures("logged")


async def _expiring(count: int = 1) -> Bench:
    """Accounts with a grant that ends in a second."""
    bench = Bench()
    for number in range(count):
        await bench.send(f"account:a{number}", add("g", 5, expires_at=bench.at + SECOND))
    await bench.run()
    return bench


async def test_an_idle_account_is_woken_once() -> None:
    """Not before it is due; once it is, one sweep is sent and applied; after that nothing is due any more."""
    bench = await _expiring()
    sweeper = Sweeper(bench.store, bench.log, 1)
    bench.at += SECOND - 1
    assert await sweeper.sweep([0], bench.at) == 0
    bench.at += 1
    assert await sweeper.sweep([0], bench.at) == 1
    assert await sweeper.sweep([0], bench.at) == 0, "it is on its way already"
    await bench.run()
    assert await sweeper.sweep([0], bench.at + SECOND) == 0
    stored = await bench.store.stream(0, "account:a0")
    assert stored is not None
    assert [event.type for event in stored.events] == ["credits.granted", "credits.grant_expired"]
    assert stored.head.due_at is None


async def test_an_idle_subscription_is_renewed() -> None:
    """Month by month, one sweep each; and after a year in which nobody looked, one sweep makes up for all of it."""
    bench = Bench()
    sweeper = Sweeper(bench.store, bench.log, 1)
    for stream in ("account:a0", "account:a1"):
        await bench.send(stream, news(occurred_at=bench.at))
    await bench.run()
    renewed = []
    for wait in (31 * DAY, 31 * DAY, 365 * DAY):
        bench.at += wait
        assert await sweeper.sweep([0], bench.at) == 2
        await bench.run()
        assert await sweeper.sweep([0], bench.at) == 0
        stored = await bench.store.stream(0, "account:a1")
        assert stored is not None
        renewed.append([event.type for event in stored.events].count("subscription.renewed"))
    assert renewed == [1, 2, 14]


async def test_an_unpaid_subscription_ends_by_itself() -> None:
    """Past due when its period ends without news, canceled when its grace does; one is paid in between and goes on.

    What was bought is used all the while; what the plan granted is over with its period.
    """
    bench = Bench()
    sweeper = Sweeper(bench.store, bench.log, 1)

    def paid(reference: str) -> ConfirmSubscription:
        period = {"period_start": bench.at, "period_end": bench.at + 30 * DAY}
        return news(reference, bench.at, renews_by_itself=False, **period)

    for account in ("left", "paid"):
        await bench.send(f"account:{account}", add("bought", 5_000))
        await bench.send(f"account:{account}", paid("first"))
    await bench.run()
    stood = []
    for wait, due, before in ((30 * DAY - 1, 0, 7_000), (1, 2, 5_000), (7 * DAY - 1, 0, 4_990), (1, 1, 4_980)):
        bench.at += wait
        assert await sweeper.sweep([0], bench.at) == due
        await bench.run()
        assert await sweeper.sweep([0], bench.at) == 0
        left = await get_subscription(bench.documents, 1, "left")
        assert (await get_credits(bench.documents, 1, "left")).balance == before
        stood.append((left.status, account_plan(PLANS, left).plan.id, left.grace_until))
        if len(stood) == 2:
            await bench.send("account:paid", paid("second"))
        if left.status != "active":
            used = f"hold_{len(stood)}"
            await bench.send("account:left", place(used, 10, expires_at=bench.at + SECOND))
            await bench.send("account:left", settle(used, 10))
            await bench.run()
    grace = bench.at
    assert stood == [
        ("active", "pro", None),
        ("past_due", "pro", grace),
        ("past_due", "pro", grace),
        ("canceled", "free", grace),
    ]
    ended = await bench.store.stream(0, "account:left")
    assert ended is not None
    assert ended.head.due_at is None, "nothing is due any more, for ever"
    kept = await get_subscription(bench.documents, 1, "paid")
    assert (kept.status, kept.plan, kept.period_end) == ("active", "pro", grace + 23 * DAY)
    assert (await get_credits(bench.documents, 1, "paid")).balance == 7_000


async def test_two_workers_that_see_it_due_wake_it_once() -> None:
    """Their sweeps carry the same id."""
    bench = await _expiring()
    bench.at += SECOND
    for _ in range(2):
        await Sweeper(bench.store, bench.log, 1).sweep([0], bench.at)
    ids = [decode_command(record).header.id for record in bench.log.records[0][1:]]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    await bench.run()
    assert len(await events_after(bench.store, 0, 0, 10)) == 2


async def test_a_sweep_that_came_too_early_is_followed_by_another() -> None:
    """A clock that was behind found nothing due: the account must not sleep for ever."""
    bench = await _expiring()
    due_at = bench.at + SECOND
    sweeper = Sweeper(bench.store, bench.log, 1)
    assert await sweeper.sweep([0], due_at) == 1
    await bench.run()  # the lane's clock has not come to it yet
    assert await sweeper.sweep([0], due_at + SWEEP_AGAIN - 1) == 0
    bench.at = due_at + SWEEP_AGAIN
    assert await sweeper.sweep([0], bench.at) == 1
    await bench.run()
    assert await bench.store.due([0], bench.at, 10) == []


async def test_only_what_is_under_way_waits() -> None:
    """So many sweeps at a time, no more: a worker that is behind is not buried under its own sweeps."""
    bench = await _expiring(SWEEP_MAX + 10)
    bench.at += SECOND
    sweeper = Sweeper(bench.store, bench.log, 1)
    assert await sweeper.sweep([0], bench.at) == SWEEP_MAX
    assert await sweeper.sweep([0], bench.at) == 0
    await bench.run()
    assert await sweeper.sweep([0], bench.at) == 10


async def test_a_sweep_that_may_be_lost_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the log has acknowledged counts as sent."""
    bench = await _expiring()
    bench.at += SECOND
    sweeper = Sweeper(bench.store, bench.log, 1)

    async def away(*_arguments: object) -> None:
        raise LogUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.log, "send", away)
        with pytest.raises(LogUnavailable):
            await sweeper.sweep([0], bench.at)
    assert await sweeper.sweep([0], bench.at) == 1


async def test_shards_of_others_are_left_alone() -> None:
    """Each worker sweeps what it applies."""
    bench = await _expiring()
    assert await Sweeper(bench.store, bench.log, 1).sweep([], bench.at + SECOND) == 0
