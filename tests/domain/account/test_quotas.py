"""Quotas of messages and of other features: exact, given back where nothing was delivered, told once."""

from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from domain.account.account import Account
from domain.account.holds import HoldPlaced, PlaceHold
from domain.account.preferences import SetPreferences
from domain.account.quota_windows import Asked
from domain.account.quotas import CreditsLow, QuotaReached, TrackFeature
from domain.account.usage import Price, Usage
from domain.instant import DAY, HOUR, MINUTE, Instant
from domain.money import MICRO
from tests.domain.account.asking import ONE_EACH, account, account_with, add, place, release, settle
from tests.domain.scenario import T0, Scenario, of_type

FREE = Price(input=0, cached_input=0, output=0, version="free")
START = T0 - T0 % DAY


def day(limit: int | None, start: Instant = START, length: Instant = DAY) -> Asked:
    """A day as the API asks for it."""
    return Asked(limit=limit, starts_at=start, ends_at=start + length, next_ends_at=start + length + DAY)


def message(hold_id: str, limit: int | None = 3, *, price: Price = FREE, asked: Asked | None = None) -> PlaceHold:
    """A free message."""
    at = T0 + 30 * DAY
    hold = place(hold_id, 0, price=price, key_id=None, expires_at=at)
    return replace(hold, messages=asked or day(limit), expires_at=0)


def begin(scenario: Scenario[Account], hold_id: str, limit: int = 3, *, at: Instant = T0, **words: Any) -> list[Any]:
    """A message at `at`, on the day of `at` unless told otherwise; the events."""
    asked = words.get("asked") or day(limit, at - at % DAY)
    return scenario.when(replace(message(hold_id, asked=asked), expires_at=at + MINUTE), at=at)


def send(scenario: Scenario[Account], hold_id: str, limit: int = 3, *, at: Instant = T0, **words: Any) -> list[Any]:
    """The same, answered at once; the events of its beginning."""
    events = begin(scenario, hold_id, limit, at=at, **words)
    scenario.when(settle(hold_id, 5))
    return events


def refused(scenario: Scenario[Account], hold_id: str, limit: int = 3, *, at: Instant = T0, **words: Any) -> Any:
    """The refusal that it meets."""
    asked = words.get("asked") or day(limit, at - at % DAY)
    return scenario.refused(replace(message(hold_id, asked=asked), expires_at=at + MINUTE), at=at)


def used(scenario: Scenario[Account]) -> int:
    """Messages of the day so far."""
    return scenario.state.quotas.messages.used


def test_exactly_the_quota_and_free_messages_count() -> None:
    """The one behind the last is refused, with what there was and when there will be more; tomorrow it passes."""
    scenario = account()
    for number in range(3):
        placed = send(scenario, f"h{number}")
        assert placed[0].messages.used == number + 1
    error = refused(scenario, "h3")
    assert (error.code, error.kind, error.curable) == ("messages_quota_exceeded", "too_many", True)
    assert error.detail == {
        "quota": "messages_per_day",
        "limit": 3,
        "used": 3,
        "requested": 1,
        "resets_at": "2027-01-16T00:00:00Z",
    }
    assert refused(scenario, "h3", at=START + DAY - 1).code == "messages_quota_exceeded"
    assert send(scenario, "h3", at=START + DAY)[0].messages.used == 1
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_the_same_hold_counts_once() -> None:
    """A repeated command finds its hold."""
    scenario = account()
    begin(scenario, "h")
    assert begin(scenario, "h") == []
    assert used(scenario) == 1


def test_without_a_limit_nothing_is_counted() -> None:
    """Nor written: the events are those of an account without quotas."""
    scenario = account()
    events = scenario.when(place("h", 0, price=FREE))
    placed = of_type(events, HoldPlaced)
    assert events == placed
    assert placed[0].messages is None
    assert b"message" not in json.encode(placed[0])


def test_decided_after_midnight_is_of_the_next_day() -> None:
    """A command that waited over midnight counts in the day in which it is decided."""
    scenario = account()
    for number in range(3):
        send(scenario, f"h{number}")
    counted = send(scenario, "late", asked=day(3), at=START + DAY + 1)[0].messages
    assert (counted.starts_at, counted.ends_at, counted.used) == (START + DAY, START + 2 * DAY, 1)


def test_an_api_whose_clock_is_ahead_opens_no_day_early() -> None:
    """A day that has begun ends when it was said to end, whatever the next command says."""
    scenario = account()
    for number in range(3):
        send(scenario, f"h{number}")
    assert refused(scenario, "h3", asked=day(3, START + DAY), at=START + DAY - 1).code == "messages_quota_exceeded"


@pytest.mark.parametrize("nothing", [release("h"), None, settle("h", 0)])
def test_nothing_delivered_gives_the_message_back(nothing: Any) -> None:
    """Released, settled at nothing, or expired without progress."""
    scenario = account()
    begin(scenario, "h")
    if nothing is None:
        scenario.pass_time(T0 + MINUTE)
    elif nothing == settle("h", 0):
        scenario.when(replace(nothing, usage=Usage(source="none")))
    else:
        scenario.when(nothing)
    assert used(scenario) == 0
    assert scenario.replayed() == scenario.state


def test_what_was_delivered_stays_counted() -> None:
    """And a late correction corrects the count, both ways."""
    scenario = account()
    send(scenario, "h")
    assert used(scenario) == 1
    scenario.when(release("h"))
    assert used(scenario) == 0
    begin(scenario, "late")
    scenario.pass_time(T0 + MINUTE)
    assert used(scenario) == 0
    scenario.when(settle("late", 5), at=T0 + 2 * MINUTE)
    assert used(scenario) == 1


def test_what_ends_on_another_day_gives_nothing_back_there() -> None:
    """The day in which it was counted is over."""
    scenario = account()
    night = START + DAY - 1
    begin(scenario, "h", at=night)
    send(scenario, "next", at=START + DAY)
    scenario.when(release("h"))
    assert used(scenario) == 1


def test_another_zone_is_no_second_day() -> None:
    """The day that has begun ends first; then one that began before that only makes it longer."""
    scenario = account()
    for number in range(3):
        send(scenario, f"h{number}")
    # The new zone's midnight is an hour after the end of the running day.
    other = day(3, START + HOUR)
    assert refused(scenario, "x", asked=other, at=START + DAY - 1).code == "messages_quota_exceeded"
    error = refused(scenario, "x", asked=other, at=START + DAY)
    assert error.detail["resets_at"] == "2027-01-16T01:00:00Z"
    assert send(scenario, "x", asked=day(3, START + DAY), at=START + DAY + 30 * MINUTE)[0].messages.used == 1, "back"
    # What is counted in a day that was made longer belongs to it until its new end.
    scenario = account()
    for number in range(2):
        send(scenario, f"h{number}")
    counted = send(scenario, "y", asked=other, at=START + DAY + MINUTE)[0].messages
    assert (counted.starts_at, counted.ends_at, counted.used) == (START, START + DAY + HOUR, 3)
    assert refused(scenario, "z", asked=day(3, START + DAY), at=START + DAY + 2 * MINUTE).detail["used"] == 3


def test_80_and_100_percent_are_told_once() -> None:
    """In the decision that reaches them; what is given back and used again is not told again."""
    scenario = account()
    told = [of_type(send(scenario, f"h{number}", 5), QuotaReached) for number in range(5)]
    assert [[(each.level, each.used) for each in events] for events in told] == [[], [], [], [(80, 4)], [(100, 5)]]
    assert told[4][0] == QuotaReached(
        quota="messages_per_day", level=100, used=5, limit=5, resets_at=START + DAY, reached_at=T0
    )
    scenario.when(release("h4"))
    assert of_type(send(scenario, "again", 5), QuotaReached) == []
    assert scenario.replayed() == scenario.state == scenario.snapshot()
    more = [of_type(send(scenario, f"m{number}", 10), QuotaReached) for number in range(5)]
    assert [event.level for events in more for event in events] == [80, 100], "of a limit that was raised"
    assert [event.level for event in of_type(send(scenario, "n", 1, at=START + DAY), QuotaReached)] == [100]


def track(amount: int = 1, *, day_limit: int | None = None, month_limit: int | None = None) -> TrackFeature:
    """A use of searches."""
    month = replace(day(month_limit), ends_at=START + 30 * DAY, next_ends_at=START + 60 * DAY)
    return TrackFeature(feature="searches", amount=amount, reference="r", day=day(day_limit), month=month)


def test_features_are_exact_by_day_and_month() -> None:
    """What does not fit is refused whole, and uses nothing; the first of the two that is full refuses."""
    scenario = account()
    scenario.when(track(7, day_limit=10, month_limit=12))
    assert scenario.answer == {
        "day": [START, START + DAY, 7, 10],
        "month": [START, START + 30 * DAY, 7, 12],
    }
    error = scenario.refused(track(4, day_limit=10, month_limit=12))
    assert (error.code, error.detail["quota"], error.detail["used"]) == (
        "feature_quota_exceeded",
        "searches.per_day",
        7,
    )
    scenario.when(track(3, day_limit=10, month_limit=12))
    tomorrow = replace(track(3, month_limit=12), day=day(10, START + DAY))
    error = scenario.refused(tomorrow, at=START + DAY)
    assert (error.detail["quota"], error.detail["resets_at"]) == ("searches.per_month", "2027-02-14T00:00:00Z")
    events = scenario.when(replace(tomorrow, amount=2))
    assert [(event.quota, event.level) for event in of_type(events, QuotaReached)] == [("searches.per_month", 100)]
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize("amount", [0, -1, 10**12 + 1])
def test_amounts_of_features_are_bounded(amount: int) -> None:
    """Nothing, less than nothing, or too much is no use."""
    assert account().refused(track(amount)).code == "invalid_feature_amount"


def test_features_of_past_months_are_forgotten() -> None:
    """So that the state stays as small as the plan file."""
    scenario = account()
    scenario.when(track())
    later = START + 30 * DAY
    scenario.when(replace(track(), feature="images", day=day(1, later), month=day(1, later)), at=later)
    assert list(scenario.state.quotas.features) == ["images"]


def test_a_low_balance_is_told_once_until_it_was_higher() -> None:
    """Whatever lowers it; an account that never had more is told nothing."""
    scenario = account_with(5 * MICRO)
    scenario.when(place("h", 4 * MICRO + 1))
    low = of_type(scenario.when(settle("h", 4 * MICRO + 1)), CreditsLow)
    assert low == [CreditsLow(balance=MICRO - 1, low_balance=MICRO, low_at=T0)]
    scenario.when(place("h2", 10))
    assert of_type(scenario.when(settle("h2", 10)), CreditsLow) == []
    scenario.when(add("g2", 5))
    scenario.when(place("h3", 10))
    assert of_type(scenario.when(settle("h3", 10)), CreditsLow) == []
    scenario.when(add("g3", MICRO))
    scenario.when(place("h4", MICRO))
    assert len(of_type(scenario.when(settle("h4", MICRO)), CreditsLow)) == 1
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_balance_that_expires_is_told() -> None:
    """Time lowers it as well."""
    scenario = account_with(2 * MICRO, expires_at=T0 + DAY)
    assert [type(event).__name__ for event in scenario.pass_time(T0 + DAY)] == ["GrantExpired", "CreditsLow"]


def test_what_is_held_is_not_gone() -> None:
    """A notice is of the balance: a hold that is much larger than its cost lowers nothing for good."""
    scenario = account_with(2 * MICRO)
    assert of_type(scenario.when(place("h", 2 * MICRO)), CreditsLow) == []
    assert of_type(scenario.when(settle("h", 1)), CreditsLow) == []


def test_the_owner_says_what_is_low() -> None:
    """A threshold that is raised over the balance is told at once; 0 asks for no notice."""
    scenario = account_with(5 * MICRO)
    scenario.when(place("h", 2 * MICRO))
    scenario.when(settle("h", 2 * MICRO))
    assert len(of_type(scenario.when(SetPreferences(low_balance=4 * MICRO)), CreditsLow)) == 1
    assert of_type(scenario.when(SetPreferences(low_balance=0)), CreditsLow) == []
    assert of_type(account().when(place("h", 0, price=ONE_EACH)), CreditsLow) == []
