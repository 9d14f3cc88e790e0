"""Days of every time zone: without gaps or overlaps, whatever its clocks do."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account.preferences import SetPreferences
from domain.instant import DAY, HOUR, SECOND
from projections.local_days import day_start, local_day, local_month, time_zones
from tests.domain.account.asking import account

ZONES = st.sampled_from(sorted(time_zones()))
INSTANTS = st.integers(0, 4_000_000_000 * SECOND)


def _at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[misc, arg-type]  # year to second


@given(ZONES, INSTANTS)
def test_every_instant_belongs_to_one_day(zone: str, at: int) -> None:
    """A day holds what asked for it, and the next begins where it ends; none is longer than two."""
    found = local_day(zone, at)
    assert found.start <= at < found.end <= found.next_end
    assert 0 < found.end - found.start <= 2 * DAY
    assert local_day(zone, found.start) == local_day(zone, found.end - 1) == found
    after = local_day(zone, found.end)
    assert (after.start, after.end) == (found.end, found.next_end) or found.end == found.next_end


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", date(2028, 2, 29), 24),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/Havana", date(2026, 3, 8), 23),  # there is no midnight
        ("America/Havana", date(2026, 11, 1), 25),  # there are two
        ("America/Sao_Paulo", date(2018, 2, 17), 25),  # its last hour comes twice
        ("Pacific/Apia", date(2011, 12, 29), 24),  # the day after it does not exist
        ("Asia/Kathmandu", date(2026, 12, 31), 24),
    ],
)
def test_length_of_a_day(zone: str, day: date, hours: int) -> None:
    """23 and 25 hours where clocks are changed, also at midnight; the leap day is a day."""
    found = local_day(zone, day_start(zone, day))
    assert (found.day, found.end - found.start) == (day, hours * HOUR)


def test_the_leap_day_and_the_month_end() -> None:
    """The 28th of February ends where the 29th begins, and that where March does; in the zone, not in UTC."""
    assert local_day("UTC", _at(2028, 2, 28, 23, 59, 59)).end == _at(2028, 2, 29)
    assert local_day("UTC", _at(2028, 2, 29, 12)).end == _at(2028, 3, 1)
    assert local_day("UTC", _at(2027, 2, 28, 12)).end == _at(2027, 3, 1)
    assert local_day("Asia/Tokyo", _at(2026, 10, 31, 15)).day == date(2026, 11, 1)


@given(ZONES, INSTANTS)
def test_every_instant_belongs_to_one_month(zone: str, at: int) -> None:
    """A month begins with its first day and ends with the next one's."""
    found = local_month(zone, at)
    assert found.start <= at < found.end < found.next_end
    assert local_day(zone, found.start).day.day == local_day(zone, found.end).day.day == 1
    assert local_month(zone, found.end) == local_month(zone, found.next_end - 1)
    assert 27 * DAY <= found.end - found.start <= 32 * DAY


def test_months_of_leap_years_and_years_ends() -> None:
    """February has 29 days in 2028; December is followed by January."""
    assert local_month("UTC", _at(2028, 2, 29, 23)).end == _at(2028, 3, 1)
    assert local_month("UTC", _at(2027, 12, 31, 23))[1:] == (_at(2028, 1, 1), _at(2028, 2, 1))
    assert local_month("Asia/Tokyo", _at(2026, 10, 31, 15)).start == _at(2026, 10, 31, 15)


def test_every_zone_can_be_set() -> None:
    """The domain's idea of a name takes every zone that there is."""
    for zone in time_zones():
        if zone != "UTC":
            assert account().when(SetPreferences(time_zone=zone))


def test_the_next_day_of_a_year() -> None:
    """A whole year of days, one by one, in a zone with daylight saving."""
    at, day = day_start("Europe/Berlin", date(2026, 1, 1)), date(2026, 1, 1)
    while day.year == 2026:
        found = local_day("Europe/Berlin", at)
        assert (found.day, found.start) == (day, at)
        at, day = found.end, day + timedelta(days=1)
    assert at == day_start("Europe/Berlin", date(2027, 1, 1))
