"""Subscriptions on the real store: time that passed unseen is made up for, and everything that follows is proven."""

from domain.account.subscription import ConfirmSubscription
from domain.instant import DAY
from eventstore.clock import system_clock
from tests.domain.account.subscribing import terms
from tests.worker.operator.yard import Yard
from worker.verify import verify


async def test_missed_periods_are_made_up_for(yard: Yard) -> None:
    """Each has been renewed once with its credits; only those of the last one are left, and all sums agree."""
    now = system_clock()
    told = ConfirmSubscription(
        plan="pro",
        status="active",
        terms=terms(2_000_000),
        occurred_at=now,
        reference="r",
        period_start=now - 100 * DAY,
        period_end=now - 70 * DAY,
        renews_by_itself=True,
    )
    async with yard.working():
        await yard.apply("account:user_1", told)
    (shown,) = await yard.rows("SELECT doc FROM rm_subscriptions WHERE key = 'user_1'")
    assert '"status": "active"' in shown["doc"]
    (head,) = await yard.rows("SELECT due_at FROM stream_head WHERE stream = 'account:user_1'")
    assert now < head["due_at"] < now + 32 * DAY
    events = [row["type"] for row in await yard.rows("SELECT type FROM events ORDER BY version")]
    renewed = events.count("subscription.renewed")
    assert renewed == 3, "two months and some days"
    assert events.count("credits.granted") == renewed + 1
    assert events.count("credits.grant_expired") == renewed
    (credits,) = await yard.rows("SELECT doc->>'balance' AS balance FROM rm_credits WHERE key = 'user_1'")
    assert credits["balance"] == "2000000"
    assert "no difference" in await verify(yard.settings)
