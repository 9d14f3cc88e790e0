"""The subscription: the latest news hold, in whatever order and however often they come."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account.subscription import SubscriptionConfirmed
from domain.instant import DAY
from tests.domain.account.asking import account
from tests.domain.account.subscribing import news, terms
from tests.domain.scenario import T0, of_type

TERMS = terms(2_000)


def test_nothing_confirmed_is_free() -> None:
    """An account that never subscribed is on the free plan, without terms of its own."""
    subscription = account().state.subscription
    assert (subscription.plan, subscription.status, subscription.terms) == ("free", "active", None)


def test_news_are_on_record_whole() -> None:
    """The event says all that replay needs: plan, terms, period, seats, when and under which reference."""
    scenario = account()
    command = news(period_start=T0, period_end=T0 + 30 * DAY, seats=2)
    (event,) = of_type(scenario.when(command), SubscriptionConfirmed)
    assert (event.plan, event.status, event.terms, event.seats) == ("pro", "active", TERMS, 2)
    assert (event.period_start, event.period_end, event.confirmed_at) == (T0, T0 + 30 * DAY, T0)
    assert scenario.answer["applied"] is True
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_older_news_change_nothing() -> None:
    """What happened before is not news, and a repeat is none either; the answer says what holds."""
    scenario = account()
    scenario.when(news("newer", T0, plan="team"))
    for late in (news("older", T0 - 1), news("newer", T0, plan="team")):
        assert scenario.when(late) == []
        assert (scenario.answer["applied"], scenario.answer["plan"]) == (False, "team")


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=4, unique=True))
def test_every_order_ends_in_the_same_state(told: list[tuple[int, str]]) -> None:
    """News of one moment too: the same facts, however they arrive, mean the same subscription and the same credits."""
    ends = []
    for order in permutations(told):
        scenario = account()
        for occurred_at, reference in order:
            plan, start = f"plan {occurred_at} {reference}", T0 + 31 * DAY * occurred_at
            period = {"period_start": start, "period_end": start + 31 * DAY}
            scenario.when(news(reference, T0 + occurred_at, plan=plan, **period))
        ends.append(scenario.state.subscription)
    assert all(end == ends[0] for end in ends)
    assert (ends[0].occurred_at - T0, ends[0].reference) == max(told)


MONTH = 31 * DAY  # from the 15th of January


@pytest.mark.parametrize("status", ["trialing", "active", "past_due", "canceled"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("start", "end"), [(None, None), (T0, None), (None, T0 + MONTH), (T0, T0 + MONTH)])
def test_there_is_always_a_whole_period(status: str, known: bool, start: int | None, end: int | None) -> None:
    """Whatever of it is left out, and whether it is paid: it starts with the news and lasts a month."""
    scenario = account()
    if known:
        scenario.when(news("before", T0 - 2, period_start=T0, period_end=T0 + MONTH))
    told = news("told", T0 - 1, status=status, period_start=start, period_end=end, renews_by_itself=False)
    confirmed = of_type(scenario.when(told), SubscriptionConfirmed)[0]
    assert (confirmed.period_start, confirmed.period_end) == (T0, T0 + MONTH)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"period_start": T0, "period_end": T0}, "period_end"),
        ({"period_start": T0, "period_end": T0 + 4 * 366 * DAY}, "period_end"),
        ({"period_start": -1}, "period_start"),
        ({"period_start": T0 + 367 * DAY}, "period_start"),
        ({"period_start": T0 + 367 * DAY, "period_end": T0 + 397 * DAY}, "period_start"),
        ({"period_end": 2**53}, "period_end"),
        ({"period_end": T0 + 4 * 366 * DAY}, "period_end"),
        ({"terms": terms(10**15, per_seat=True), "seats": 2}, "seats"),
        ({"seats": 0}, "seats"),
        ({"seats": 4}, "seats"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], param: str) -> None:
    """A period that ends before it begins, and seats that the plan does not have."""
    scenario = account()
    error = scenario.refused(news(**wrong))
    assert (error.code, error.detail["param"]) == ("invalid_subscription", param)
    assert scenario.events == []
