"""Periods and stretches: as the account's clocks count them, without gaps, however the clocks are set."""

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.errors import ApiError
from api.usage_times import LAST, UNIT_PERIOD_MAX, Stretches, Unit, local, period, stretches
from domain.instant import DAY, HOUR, SECOND, Instant
from projections.local_days import time_zones
from projections.usage import QUARTER

ZONES = st.sampled_from(sorted(time_zones()))
YEAR_2000: Instant = 946_684_800 * SECOND


def at(text: str) -> Instant:
    """The instant of a time."""
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def cut(unit: Unit, zone: str, start: str, end: str) -> Stretches:
    """The stretches of a period."""
    return stretches(unit, zone, at(start), at(end))


@pytest.mark.parametrize(
    ("zone", "start", "labels", "hours"),
    [
        ("UTC", "2028-02-28T00:00:00+00:00", ["2028-02-28", "2028-02-29", "2028-03-01"], [24, 24]),
        ("UTC", "2026-12-31T00:00:00+00:00", ["2026-12-31", "2027-01-01", "2027-01-02"], [24, 24]),
        ("Europe/Berlin", "2026-03-28T00:00:00+01:00", ["2026-03-28", "2026-03-29", "2026-03-30"], [24, 23]),
        ("Europe/Berlin", "2026-10-24T00:00:00+02:00", ["2026-10-24", "2026-10-25", "2026-10-26"], [24, 25]),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00+10:30", ["2026-10-03", "2026-10-04", "2026-10-05"], [24, 23.5]),
        ("Asia/Kathmandu", "2026-02-27T18:15:00+00:00", ["2026-02-28", "2026-03-01", "2026-03-02"], [24, 24]),
        ("America/Havana", "2026-03-07T00:00:00-05:00", ["2026-03-07", "2026-03-08", "2026-03-09"], [24, 23]),
    ],
)
def test_days_are_as_long_as_they_are(zone: str, start: str, labels: list[str], hours: list[float]) -> None:
    """Leap days, ends of months and years, clocks set forward and back, also by half an hour and at midnight."""
    found = stretches("day", zone, at(start), at(start) + 3 * DAY - 2 * HOUR)
    assert found.labels == labels
    lengths = [(later - earlier) / HOUR for earlier, later in zip(found.times, found.times[1:], strict=False)]
    assert lengths == hours


def test_an_hour_comes_twice_at_the_end_of_summer() -> None:
    """Its offset tells which of them it was; in spring one is left out."""
    autumn = cut("hour", "Europe/Berlin", "2026-10-24T23:30:00+00:00", "2026-10-25T02:00:00+00:00")
    assert autumn.labels == ["2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    spring = cut("hour", "Europe/Berlin", "2026-03-29T00:00:00+00:00", "2026-03-29T02:00:00+00:00")
    assert spring.labels == ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]
    utc = cut("quarter", "UTC", "2026-03-29T00:00:00+00:00", "2026-03-29T00:30:00+00:00")
    assert utc.labels == ["2026-03-29T00:00:00Z", "2026-03-29T00:15:00Z"]


@given(ZONES, st.integers(0, 40 * 366 * 96), st.integers(1, 14 * 96), st.sampled_from(("hour", "day", "quarter")))
@example("Australia/Lord_Howe", (at("2026-04-04T13:00:00+00:00") - YEAR_2000) // QUARTER, 20, "hour")
def test_stretches_cover_the_period(zone: str, first: int, length: int, unit: Unit) -> None:
    """The first begins no later than the period, each ends where the next begins, each has a name of its own."""
    start = YEAR_2000 + first * QUARTER
    end = start + length * QUARTER
    found = stretches(unit, zone, start, end)
    assert found.times[0] <= start < end
    assert list(found.times) == sorted(set(found.times))
    assert all(each < end for each in found.times)
    assert len(set(found.labels)) == len(found.labels) == len(found.times)
    assert all(each % QUARTER == 0 for each in found.times)


def test_dates_are_those_of_the_zone() -> None:
    """A date stands for its beginning where the account is; a time says itself where it is."""
    assert period("2026-11-22", "2026-11-23", 0, "Asia/Tokyo") == (
        at("2026-11-22T00:00:00+09:00"),
        at("2026-11-23T00:00:00+09:00"),
    )
    assert period("2026-11-22T00:01:00Z", "2026-11-22T00:16:00Z", 0, "Asia/Tokyo") == (
        at("2026-11-22T00:00:00+00:00"),
        at("2026-11-22T00:30:00+00:00"),
    )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Chatham"])
@pytest.mark.parametrize(
    ("start", "end", "beyond"),
    [("2027-10-31", "2028-10-31", "2028-11-01"), ("2028-03-26", "2029-03-27", "2029-03-28")],
)
def test_a_year_is_a_year_in_every_zone(zone: str, start: str, end: str, beyond: str) -> None:
    """The 366 days are those of the zone, though its clocks were set back between them; one day more is refused."""
    period(start, end, YEAR_2000, zone)
    with pytest.raises(ApiError) as refused:
        period(start, beyond, YEAR_2000, zone)
    assert refused.value.code == "invalid_period"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"])
@pytest.mark.parametrize("unit", ["hour", "day", "quarter"])
def test_the_ends_of_time_are_times(zone: str, unit: Unit) -> None:
    """The first and the last that can be written, in the zones furthest from UTC."""
    first, last = period(None, "1970-01-02", 0, zone), period("9999-12-31", "9999-12-31T23:59:59Z", 0, zone)
    for start, end in (first, last, (LAST - HOUR, LAST)):
        assert 0 <= start < end <= LAST
        assert stretches(unit, zone, start, end).times[0] <= start
    assert local(zone, LAST).year in (9999, 10_000)


@pytest.mark.parametrize("unit", ["hour", "day", "quarter"])
def test_stretches_are_bounded(unit: Unit) -> None:
    """A period that has too many of them is refused."""
    with pytest.raises(ApiError, match="at most") as caught:
        stretches(unit, "UTC", YEAR_2000, YEAR_2000 + UNIT_PERIOD_MAX[unit] + 2 * DAY)
    assert caught.value.code == "invalid_period"
