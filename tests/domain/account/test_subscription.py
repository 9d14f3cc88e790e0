"""The subscription: the latest news hold, in whatever order and however often they come."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account.plan_terms import PlanTerms
from domain.account.subscription import ConfirmSubscription, SubscriptionConfirmed
from domain.instant import DAY
from tests.domain.account.asking import account
from tests.domain.scenario import T0, of_type

TERMS = PlanTerms(
    messages_per_day=1_000,
    requests_per_minute=60,
    requests_per_day=1_000,
    agent_slots=5,
    api_keys=100,
    seats=3,
    features=("basic_models",),
)


def news(reference: str = "r", occurred_at: int = T0, **changed: Any) -> ConfirmSubscription:
    """Good news but for what is changed."""
    words: dict[str, Any] = {"plan": "pro", "status": "active", "terms": TERMS} | changed
    return ConfirmSubscription(occurred_at=occurred_at, reference=reference, **words)


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
    """News of one moment too: the same facts, however they arrive, mean the same subscription."""
    ends = []
    for order in permutations(told):
        scenario = account()
        for occurred_at, reference in order:
            scenario.when(news(reference, T0 + occurred_at, plan=f"plan {occurred_at} {reference}"))
        ends.append(scenario.state.subscription)
    assert all(end == ends[0] for end in ends)
    assert (ends[0].occurred_at - T0, ends[0].reference) == max(told)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"period_start": T0, "period_end": T0}, "period_end"),
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
