"""Months in UTC: the same day of another month, or its last one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instant import DAY, SECOND
from domain.month import day_of, falls_on, months_between, months_later
from tests.domain.account.subscribing import day, moment

LAST = moment("2199-12-31")


@pytest.mark.parametrize(
    ("start", "months", "anchor", "end"),
    [
        ("2027-01-15", 1, 15, "2027-02-15"),
        ("2027-01-31", 1, 31, "2027-02-28"),
        ("2028-01-31", 1, 31, "2028-02-29"),
        ("2028-02-29", 1, 31, "2028-03-31"),
        ("2027-02-28", 1, 31, "2027-03-31"),
        ("2027-03-31", 1, 31, "2027-04-30"),
        ("2027-12-31", 1, 31, "2028-01-31"),
        ("2028-02-29", 12, 29, "2029-02-28"),
        ("2027-01-31", -1, 31, "2026-12-31"),
        ("2027-03-31", -1, 31, "2027-02-28"),
        ("2027-06-05", 0, 5, "2027-06-05"),
    ],
)
def test_months_later(start: str, months: int, anchor: int, end: str) -> None:
    """Leap years, short months, and back to the 31st; the time of day stays."""
    at = moment(start) + 12_345 * SECOND
    assert months_later(at, months, anchor) == moment(end) + 12_345 * SECOND


@given(st.integers(0, LAST), st.integers(1, 31), st.integers(0, 40))
def test_a_later_month_is_later_by_its_number(at: int, anchor: int, months: int) -> None:
    """Whatever the day: so many months' names on, on the anchor's day, and never more than the month has."""
    later = months_later(at, months, anchor)
    assert months_between(at, later) == months
    assert falls_on(later, anchor)
    assert later % DAY == at % DAY


@given(st.integers(0, LAST), st.integers(1, 31))
def test_falls_on_the_day_or_the_last_one(at: int, anchor: int) -> None:
    """The last day of a month stands for those that it does not have."""
    text = day(at)
    assert text is not None
    assert day_of(at) == int(text[-2:])
    assert falls_on(at, anchor) == (months_later(at, 0, anchor) == at)
