"""The sweeper wakes accounts that nobody touches, once."""

import pytest

from domain.instant import DAY, SECOND
from eventstore.codec import decode_command
from tests.domain.account.asking import add
from tests.domain.account.subscribing import news
from tests.shard_log import events_after
from tests.worker.bench import Bench
from worker.source import LogUnavailable
from worker.sweeper import SWEEP_AGAIN, SWEEP_MAX, Sweeper

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
