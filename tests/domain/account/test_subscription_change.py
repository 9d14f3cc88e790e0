"""What time and its owner make of a subscription: renewals and credits, past due, grace, smaller plans, the end."""

from typing import Any

import pytest

from domain.account.account import AGGREGATE
from domain.account.credits import CreditsGranted, GrantExpired
from domain.account.payments import ConfirmPayment, RefundPayment
from domain.account.plan_terms import PlanTerms
from domain.account.subscription import SubscriptionScheduled
from domain.account.subscription_change import (
    ChangeSubscription,
    SubscriptionChanged,
    SubscriptionRenewed,
)
from domain.account.subscription_period import MISSED_MAX
from domain.instant import DAY, HOUR
from tests.domain.account.asking import account, add, place, settle
from tests.domain.account.subscribing import day, moment, news, terms
from tests.domain.scenario import T0, Scenario, of_type

START = moment("2027-01-31")


def subscribed(**changed: Any) -> Scenario[Any]:
    """On a plan since the last day of January 2027."""
    scenario = account()
    scenario.when(news(occurred_at=START, **changed), at=START)
    return scenario


def granted(scenario: Scenario[Any]) -> list[tuple[int, str | None]]:
    """What the plan has granted, and when it runs out."""
    return [(event.amount, day(event.expires_at)) for event in of_type(scenario.events, CreditsGranted)]


def test_a_year_by_itself() -> None:
    """A period a month, on the 31st again after a short month; each with its credits, which run out with it."""
    scenario = subscribed()
    scenario.pass_time(moment("2028-01-31"))
    periods = [day(event.period_end) for event in of_type(scenario.events, SubscriptionRenewed)]
    assert periods[:4] == ["2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30"]
    assert (len(periods), periods[-1]) == (12, "2028-02-29")
    assert granted(scenario) == [(2_000, "2027-02-28"), *[(2_000, end) for end in periods]]
    assert len(of_type(scenario.events, GrantExpired)) == 12
    assert scenario.state.credits.balance == 2_000
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_asleep_for_longer_than_anybody_looks() -> None:
    """After decades the last two years are renewed period by period, and one event says what was left out."""
    scenario = subscribed()
    due = scenario.pass_time(moment("2077-06-15"))
    renewed = of_type(due, SubscriptionRenewed)
    assert len(renewed) <= MISSED_MAX + 1
    assert len(renewed) + sum(event.skipped for event in renewed) == 50 * 12 + 4
    assert (day(renewed[-1].period_start), day(renewed[-1].period_end)) == ("2077-05-31", "2077-06-30")
    assert len(due) < 4 * MISSED_MAX
    assert scenario.state.credits.balance == 2_000


def test_a_period_has_one_grant_whoever_says_it() -> None:
    """Time renews and the payment side confirms, in both orders and again and again: one grant a period."""
    told = {"period_start": moment("2027-02-28"), "period_end": moment("2027-03-31")}
    for late in (-HOUR, HOUR):
        scenario = subscribed()
        for number in range(3):
            scenario.when(news(f"paid {number}", START + number, **told), at=moment("2027-02-28") + late)
        scenario.pass_time(moment("2027-03-01"))
        assert granted(scenario) == [(2_000, "2027-02-28"), (2_000, "2027-03-31")], late
        assert day(scenario.state.subscription.period_end) == "2027-03-31"
        scenario.pass_time(moment("2027-04-01"))
        assert granted(scenario)[2:] == [(2_000, "2027-04-30")], "the 31st is not forgotten"


def test_what_is_billed_elsewhere_ends_without_news() -> None:
    """Past due at the end of its period, canceled when the grace is over; late payment makes it active again."""
    scenario = subscribed(renews_by_itself=False)
    assert AGGREGATE.next_due(scenario.state) == moment("2027-02-28")
    (first,) = of_type(scenario.pass_time(moment("2027-02-28")), SubscriptionChanged)
    assert (first.reason, first.status_before, first.status) == ("period_ended", "active", "past_due")
    assert day(first.grace_until) == "2027-03-07"
    (second,) = of_type(scenario.pass_time(moment("2027-03-08")), SubscriptionChanged)
    assert (second.reason, second.status, second.plan) == ("grace_ended", "canceled", "pro")
    assert day(second.changed_at) == "2027-03-07"
    assert AGGREGATE.next_due(scenario.state) is None
    period = {"period_start": moment("2027-02-28"), "period_end": moment("2027-03-31")}
    scenario.when(news("late", START + DAY, renews_by_itself=False, **period), at=moment("2027-03-09"))
    assert scenario.state.subscription.status == "active"
    assert granted(scenario) == [(2_000, "2027-02-28"), (2_000, "2027-03-31")]


def test_a_payment_that_fails_again_lengthens_no_grace() -> None:
    """The grace counts from the first failure; a payment ends it."""
    scenario = subscribed()
    for number in range(3):
        scenario.when(news(f"failed {number}", START + 1 + number, status="past_due"), at=START + number * DAY)
        assert scenario.state.subscription.grace_until == START + 7 * DAY
    scenario.when(news("paid", START + 9), at=START + 3 * DAY)
    assert (scenario.state.subscription.status, scenario.state.subscription.grace_until) == ("active", None)
    scenario.when(news("failed", START + 10, status="past_due"), at=START + 4 * DAY)
    assert scenario.state.subscription.grace_until == START + 11 * DAY


def test_a_payment_that_fails_after_the_grace_gives_no_other() -> None:
    """Providers try for weeks: whoever has not paid in the grace stays canceled until it has."""
    scenario = subscribed(renews_by_itself=False)
    scenario.pass_time(moment("2027-03-08"))
    for number in range(3):
        told = news(f"failed {number}", START + 1 + number, status="past_due", renews_by_itself=False)
        scenario.when(told, at=moment("2027-03-09") + number * DAY)
        assert scenario.state.subscription.status == "canceled"
    scenario.when(news("paid", START + 9, renews_by_itself=False), at=moment("2027-03-15"))
    assert (scenario.state.subscription.status, scenario.state.subscription.grace_until) == ("active", None)


@pytest.mark.parametrize(("refunded_cents", "more"), [(0, 1_000), (50, 1_500), (100, 2_000)])
def test_what_was_refunded_is_granted_when_it_is_bought_again(refunded_cents: int, more: int) -> None:
    """In the middle of a period that was canceled; of one that goes on a refund is granted by no news."""
    middle, ends = START + 10 * DAY, START + 20 * DAY
    period: dict[str, Any] = {"renews_by_itself": False, "period_start": START, "period_end": ends}
    scenario = subscribed(**period)
    paid: dict[str, Any] = {
        "payment_id": "pi_1",
        "grant_id": "g",
        "credits": 2_000,
        "paid_cents": 100,
        "occurred_at": START,
    }
    scenario.when(ConfirmPayment(**paid, source="plan", granted=False, expires_at=ends), at=START + DAY)
    scenario.when(RefundPayment(payment_id="pi_1", refunded_cents=refunded_cents, occurred_at=START + DAY))
    scenario.when(news("goes on", START + 2 * DAY, **period), at=START + 2 * DAY)
    scenario.when(news("ends", START + 3 * DAY, status="canceled", renews_by_itself=False), at=START + 3 * DAY)
    assert [amount for amount, _ in granted(scenario)] == [2_000]
    anew = {"renews_by_itself": False, "period_start": middle, "period_end": middle + 20 * DAY}
    for number in range(2):
        scenario.when(news(f"anew {number}", middle + number, **anew), at=middle + number)
    assert [amount for amount, _ in granted(scenario)] == [2_000, more]


def test_what_is_still_to_be_paid_is_granted_nothing() -> None:
    """A provider begins a period and collects for it later: the plan goes on, its credits come with the money."""
    scenario = subscribed(renews_by_itself=False)
    period = {"period_start": moment("2027-02-28"), "period_end": moment("2027-03-31"), "renews_by_itself": False}
    scenario.when(news("begun", START + 1, paid=False, **period), at=moment("2027-02-28"))
    assert (scenario.state.subscription.status, granted(scenario)) == ("active", [(2_000, "2027-02-28")])
    for number in (2, 3):
        scenario.when(news(f"paid {number}", START + number, **period), at=moment("2027-02-28") + HOUR)
    assert granted(scenario) == [(2_000, "2027-02-28"), (2_000, "2027-03-31")]


def test_without_a_grace_it_ends_at_once() -> None:
    """A plan without grace is past due and canceled in the same moment."""
    scenario = subscribed(renews_by_itself=False, terms=terms(1, grace_days=0))
    changed = of_type(scenario.pass_time(moment("2027-02-28")), SubscriptionChanged)
    assert [event.status for event in changed] == ["past_due", "canceled"]


def test_a_trial_becomes_a_subscription_without_a_second_grant() -> None:
    """A trial has the plan's days and its credits; paid in the same period it is granted nothing more."""
    scenario = subscribed(status="trialing", terms=terms(2_000, trial_days=14))
    assert day(scenario.state.subscription.period_end) == "2027-02-14"
    period = {"period_start": START, "period_end": moment("2027-02-28")}
    scenario.when(news("paid", START + 1, **period), at=START + DAY)
    assert granted(scenario) == [(2_000, "2027-02-14")]
    trial = subscribed(status="trialing", terms=terms(2_000, trial_days=14))
    trial.pass_time(moment("2027-02-14"))
    assert trial.state.subscription.status == "past_due", "nobody has paid"
    trial.when(news("paid", START + 1), at=moment("2027-02-15"))
    assert granted(trial) == [(2_000, "2027-02-14"), (2_000, "2027-03-15")]


def test_an_upgrade_in_mid_period_is_granted_the_difference_once() -> None:
    """Dearer in the same period: what is missing. Down and up again: nothing more."""
    scenario = subscribed()
    period = {"period_start": START, "period_end": moment("2027-02-28")}
    for number, credits in enumerate((5_000, 2_000, 5_000, 6_000, 1)):
        told = news(f"n{number}", START + 1 + number, plan=f"p{credits}", terms=terms(credits), **period)
        scenario.when(told, at=START + (1 + number) * HOUR)
    assert [amount for amount, _ in granted(scenario)] == [2_000, 3_000, 1_000]


def test_a_period_that_begins_anew_is_granted_what_has_gone_by() -> None:
    """Canceled and begun again at a half of the period: a half of the credits, since the other half is still there."""
    scenario = subscribed()
    half = (START + moment("2027-02-28")) // 2
    scenario.when(news("end", START + 1, status="canceled"), at=half)
    for number in range(3):
        scenario.when(news(f"again {number}", START + 2 + number), at=half)
    assert [amount for amount, _ in granted(scenario)] == [2_000, 1_000]


def test_seats_multiply_what_is_granted() -> None:
    """A plan by the seat grants for each of them, for further ones at once, and for fewer from the next period on."""
    by_seat = terms(1_500, per_seat=True)
    scenario = subscribed(plan="team", terms=by_seat, seats=2)
    period = {"period_start": START, "period_end": moment("2027-02-28")}
    scenario.when(news("more", START + 1, plan="team", terms=by_seat, seats=3, **period), at=START + DAY)
    scenario.when(ChangeSubscription(seats=1, at_period_end=True))
    assert scenario.state.subscription.seats == 3
    scenario.pass_time(moment("2027-02-28"))
    assert [amount for amount, _ in granted(scenario)] == [3_000, 1_500, 1_500]
    assert scenario.state.subscription.seats == 1


def test_a_plan_by_the_seat_never_has_seats_without_number() -> None:
    """Told, or as many as there were with the same plan, or one; at most what the plan has now."""
    team, fewer = terms(100, per_seat=True, seats=None), terms(100, per_seat=True, seats=2)
    scenario = account()
    said: list[tuple[dict[str, Any], int | None]] = [
        ({"plan": "team", "terms": team}, 1),
        ({"plan": "team", "terms": team, "seats": 4}, 4),
        ({"plan": "team", "terms": team}, 4),
        ({"plan": "team", "terms": fewer}, 2),
        ({"plan": "crew", "terms": team}, 1),
        ({"plan": "pro"}, None),
        ({"plan": "team", "terms": team}, 1),
    ]
    for number, (changed, seats) in enumerate(said):
        scenario.when(news(f"r{number}", START + number, **changed), at=START + number)
        assert scenario.state.subscription.seats == seats, changed
        assert scenario.answer["seats"] == seats


def test_credits_of_the_plan_are_burnt_before_what_was_bought() -> None:
    """They run out; what was bought does not."""
    scenario = subscribed()
    scenario.when(add("bought", 500))
    scenario.when(place("h", 1_900, expires_at=START + HOUR))
    scenario.when(settle("h", 1_900))
    left = {grant.source: grant.remaining for grant in scenario.state.credits.grants.values()}
    assert left == {"plan": 100, "test": 500}
    scenario.pass_time(moment("2027-03-30"))
    left = {grant.source: grant.remaining for grant in scenario.state.credits.grants.values()}
    assert left == {"plan": 2_000, "test": 500}


def test_debt_is_repaid_by_the_next_period_first() -> None:
    """What was used and could not be covered comes off the next grant."""
    scenario = subscribed()
    scenario.when(place("h", 2_000, expires_at=START + HOUR))
    scenario.when(settle("h", 2_700))
    assert scenario.state.credits.debt == 700
    scenario.pass_time(moment("2027-02-28"))
    assert (scenario.state.credits.debt, scenario.state.credits.balance) == (0, 1_300)


def test_cancelled_at_the_end_of_the_period() -> None:
    """Until then all is as it was; the wish can be dropped, and what is asked for twice is asked for once."""
    scenario = subscribed()
    assert len(of_type(scenario.when(ChangeSubscription(cancel=True)), SubscriptionScheduled)) == 1
    assert scenario.when(ChangeSubscription(cancel=True)) == []
    assert scenario.answer["scheduled"]["cancel"] is True
    scenario.when(ChangeSubscription())
    assert scenario.state.subscription.scheduled is None
    assert scenario.when(ChangeSubscription()) == []
    scenario.when(ChangeSubscription(cancel=True))
    (ended,) = of_type(scenario.pass_time(moment("2027-03-05")), SubscriptionChanged)
    assert (ended.reason, ended.status, day(ended.changed_at)) == ("scheduled", "canceled", "2027-02-28")
    assert scenario.state.subscription.scheduled is None
    assert len(granted(scenario)) == 1
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_cancelled_at_once() -> None:
    """The credits of the period stay until it ends; nothing renews."""
    scenario = subscribed()
    (ended,) = of_type(scenario.when(ChangeSubscription(cancel=True, at_period_end=False)), SubscriptionChanged)
    assert (ended.reason, ended.status) == ("requested", "canceled")
    assert scenario.state.credits.balance == 2_000
    scenario.pass_time(moment("2027-03-05"))
    assert scenario.state.credits.balance == 0
    assert scenario.refused(ChangeSubscription(cancel=True)).code == "no_subscription"


def test_a_smaller_plan_at_the_end_of_the_period() -> None:
    """The next period is the smaller plan's, in its limits and its credits."""
    scenario = subscribed()
    scenario.when(ChangeSubscription(plan="lite", terms=terms(500)))
    assert scenario.state.subscription.plan == "pro"
    scenario.pass_time(moment("2027-03-01"))
    assert (scenario.state.subscription.plan, scenario.state.subscription.status) == ("lite", "active")
    assert [amount for amount, _ in granted(scenario)] == [2_000, 500]


def test_news_after_the_wish_replace_it() -> None:
    """The payment side knows better what occurred later; what occurred before the wish does not undo it."""
    for later, kept in ((-1, True), (1, False)):
        scenario = subscribed()
        scenario.when(ChangeSubscription(cancel=True), at=START + DAY)
        scenario.when(news("n", START + DAY + later), at=START + 2 * DAY)
        assert (scenario.state.subscription.scheduled is not None) == kept


def test_news_of_what_was_before_the_wish_come_late() -> None:
    """Ended by its owner, now or at the period's end, it stays so: only what occurred after that begins it again."""
    for at_period_end in (True, False):
        scenario = subscribed()
        scenario.when(ChangeSubscription(cancel=True, at_period_end=at_period_end), at=START + DAY)
        scenario.pass_time(START + 40 * DAY)
        assert scenario.when(news("before", START + DAY - 1)) == []
        assert scenario.state.subscription.status == "canceled"
        scenario.when(news("after", START + DAY + 1))
        assert scenario.state.subscription.status == "active"


@pytest.mark.parametrize("days", [60, 5])
def test_the_end_at_which_it_changes_may_move(days: int) -> None:
    """News of before the wish tell of a longer or a shorter period: the wish comes true when that ends."""
    scenario = subscribed()
    scenario.when(ChangeSubscription(cancel=True), at=START + 2 * DAY)
    late = news("late", START + DAY, period_start=START, period_end=START + days * DAY)
    (moved,) = of_type(scenario.when(late, at=START + 3 * DAY), SubscriptionScheduled)
    assert moved.change is not None
    assert moved.change.effective_at == START + days * DAY
    assert scenario.when(late) == []
    scenario.pass_time(START + days * DAY - 1)
    assert scenario.state.subscription.status == "active"
    scenario.pass_time(START + days * DAY)
    assert scenario.state.subscription.status == "canceled"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize(("had", "gets"), [(None, 1), (1, 1), (2, 2)])
def test_a_plan_by_the_seat_is_taken_with_as_many_seats_as_are_paid(had: int | None, gets: int) -> None:
    """None named is as many as before, one at least: never room for everybody at the price of one."""
    by_seat = terms(1_000, per_seat=True, seats=None)
    for at_period_end in (True, False):
        scenario = subscribed(seats=had)
        scenario.when(ChangeSubscription(plan="team", terms=by_seat, at_period_end=at_period_end), at=START + DAY)
        scenario.pass_time(START + 40 * DAY)
        subscription = scenario.state.subscription
        assert (subscription.plan, subscription.seats) == ("team", gets)


CUSTOM = terms(0, price=None)


@pytest.mark.parametrize(
    ("now", "wish", "code"),
    [
        ({}, {"plan": "big", "terms": terms(2_001)}, "upgrade_not_paid"),
        ({}, {"plan": "big", "terms": terms(2_001, price=1)}, "upgrade_not_paid"),
        ({}, {"plan": "big", "terms": terms(1, price=2_001)}, "upgrade_not_paid"),
        ({}, {"plan": "custom", "terms": CUSTOM}, "upgrade_not_paid"),
        ({"terms": CUSTOM}, {"plan": "small", "terms": terms(1)}, "upgrade_not_paid"),
        ({"terms": terms(9, per_seat=True), "seats": 1}, {"seats": 2}, "upgrade_not_paid"),
        ({}, {"seats": 4}, "invalid_subscription"),
        ({"plan": "free", "terms": terms()}, {"cancel": True}, "no_subscription"),
        ({"status": "canceled"}, {"cancel": True}, "no_subscription"),
        ({"renews_by_itself": False}, {"cancel": True}, "billed_elsewhere"),
        ({"renews_by_itself": None}, {"cancel": True}, "billed_elsewhere"),
    ],
)
def test_what_owners_may_not(now: dict[str, Any], wish: dict[str, Any], code: str) -> None:
    """What costs more is bought, what is billed elsewhere is changed there, and of nothing nothing can be changed."""
    scenario = subscribed(**now)
    for at_period_end in (True, False):
        error = scenario.refused(ChangeSubscription(**wish, at_period_end=at_period_end))
        assert error.code == code


def test_an_account_that_never_subscribed_has_nothing_to_change() -> None:
    """It is on the free plan."""
    assert account().refused(ChangeSubscription(cancel=True)).code == "no_subscription"


def test_news_of_the_release_before_stand_still() -> None:
    """Periods were only told then: time ends none of them, and grants nothing."""
    scenario = subscribed(renews_by_itself=None, period_start=T0, period_end=T0 + DAY)
    assert scenario.pass_time(moment("2040-01-01")) == []
    assert (scenario.state.subscription.status, granted(scenario)) == ("active", [])


def test_the_free_plan_has_no_periods_to_end() -> None:
    """Whoever is put back on it stays there, whoever bills."""
    plan: PlanTerms = terms()
    scenario = subscribed(plan="free", terms=plan, renews_by_itself=False)
    assert scenario.pass_time(moment("2040-01-01")) == []
    assert scenario.state.subscription.status == "active"


@pytest.mark.parametrize(
    ("told", "start", "end"),
    [
        ({}, "2027-01-31", "2027-02-28"),
        ({"period_start": moment("2027-01-10")}, "2027-01-10", "2027-02-10"),
        ({"period_end": moment("2027-02-05")}, "2027-01-31", "2027-02-05"),
        ({"period_end": moment("2027-01-20"), "renews_by_itself": False}, "2026-12-20", "2027-01-20"),
        ({"status": "trialing"}, "2027-01-31", "2027-02-28"),
        ({"status": "trialing", "terms": terms(1, trial_days=3)}, "2027-01-31", "2027-02-03"),
    ],
)
def test_periods_that_are_not_told(told: dict[str, Any], start: str, end: str) -> None:
    """Without a start they begin when the news are applied, without an end they last a month or the trial's days."""
    subscription = subscribed(**told).state.subscription
    assert (day(subscription.period_start), day(subscription.period_end)) == (start, end)
