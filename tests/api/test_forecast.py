"""The forecast by itself: what it must say of simple series, and how it does on made-up ones."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.forecast import CONFIDENCE_PERCENT, HISTORY_DAYS, LEVEL_DAYS, forecast
from bench.forecast import ORIGINS, growing, jumping, scores
from domain.money import AMOUNT_MAX

DAY = (1, 1)
series = st.lists(st.integers(0, AMOUNT_MAX), max_size=HISTORY_DAYS + 20)
parts = st.lists(st.tuples(st.integers(0, 24), st.just(24)), max_size=40)


@given(series, parts, st.integers(0, AMOUNT_MAX))
def test_a_range_holds_what_is_expected(days: list[int], ahead: list[tuple[int, int]], pace: int) -> None:
    """Whatever was used: whole micro-credits, nothing negative, the expected within the range."""
    said = forecast(days, ahead, pace)
    assert all(type(each) is int for each in (said.low, said.expected, said.high))
    assert 0 <= said.low <= said.expected <= said.high
    assert said.days <= min(len(days), HISTORY_DAYS)


@given(st.integers(1, AMOUNT_MAX), st.integers(LEVEL_DAYS, 90), st.integers(1, 40))
def test_what_is_always_the_same_goes_on(used: int, count: int, ahead: int) -> None:
    """But for rounding; and as nothing ever differed, the range is narrow."""
    said = forecast([used] * count, [DAY] * ahead)
    assert abs(said.expected - used * ahead) <= 2 * ahead + used * ahead // 1_000
    assert said.high - said.low <= 10 * ahead + used * ahead // 100


def test_weekends_are_known() -> None:
    """A week's pattern is carried on, from whichever day on, and pulled to the mean a little."""
    week = [700, 700, 700, 700, 700, 70, 0]
    for begun in range(7):
        days = [week[(begun + day) % 7] * 1_000 for day in range(56)]
        said = [forecast(days, [(0, 1)] * number + [DAY]).expected for number in range(7)]
        wanted = [week[(begun + 56 + number) % 7] * 1_000 for number in range(7)]
        assert all(abs(one - other) <= 70_000 for one, other in zip(said, wanted, strict=True))


def test_a_plain_trend_goes_on_for_two_weeks() -> None:
    """Weeks on a line are believed: as much more as they were; after two weeks the level stays."""
    days = [100_000 + 1_000 * day for day in range(56)]
    said = forecast(days, [DAY] * 14)
    straight = sum(100_000 + 1_000 * day for day in range(56, 70))
    assert abs(said.expected - straight) <= straight // 25
    later = [forecast(days, [(0, 1)] * number + [DAY] * 7).expected for number in (14, 28)]
    assert later[0] == later[1]


def test_what_could_be_chance_is_no_trend() -> None:
    """Weeks that go up and down, the last one high, are hardly carried on; and never by more than a seventh a week."""
    scattered = [day for used in (100, 160, 90, 170, 80, 150, 100, 170) for day in [used * 1_000] * 7]
    said = forecast(scattered, [DAY] * 7)
    assert abs(said.expected - 7 * 135_000) <= 7 * 135_000 // 20
    leaping = [day for used in (1, 10, 100, 1_000) for day in [used * 1_000] * 7]
    assert forecast(leaping, [DAY]).expected <= 1_000_000


@pytest.mark.parametrize(
    ("days", "pace", "method", "expected"),
    [
        ([], 0, "none", 0),
        ([0, 0, 0], 0, "none", 0),
        ([], 240, "pace_of_today", 480),
        ([0, 100], 999, "daily_mean", 200),
        ([100, 0, 200], 999, "daily_mean", 200),
        ([100] * LEVEL_DAYS, 999, "weekday_profile", 200),
    ],
)
def test_it_says_how_it_was_made(days: list[int], pace: int, method: str, expected: int) -> None:
    """By how much there is to know; days before the first use are no days."""
    said = forecast(days, [DAY, DAY], pace)
    assert (said.method, said.expected) == (method, expected)
    assert said.days == (len(days) - days.index(100) if 100 in days else 0)


def test_a_part_of_a_day_is_a_part() -> None:
    """Half of today and half of the last day are a day."""
    assert forecast([100] * 20, [(1, 2), (12, 24)]).expected == forecast([100] * 20, [DAY]).expected == 100


def test_ranges_hold_what_they_promise() -> None:
    """On series that it was not made for: about as often as promised, but where nobody could know."""
    found = scores(range(5_000, 5_030))
    foreseeable = [each.inside for each in found if each.kind != jumping.__name__]
    assert sum(foreseeable) / len(foreseeable) >= CONFIDENCE_PERCENT / 100
    assert min(foreseeable) >= 0.4
    assert all(each.error <= 0.25 for each in found if each.over == ORIGINS[-1] and each.kind != "sparse")


def test_series_are_reproducible() -> None:
    """The table in the documentation can be made again."""
    assert growing(Random(3)) == growing(Random(3)) != growing(Random(4))
