"""Days and months as an account's owner counts them: from midnight to midnight in its time zone, 23 to 25 hours long.

The rules are those of the IANA database, of the system or else of the package `tzdata`.
"""

from datetime import date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from domain.instant import Instant, instant_of, moment_of

_DAY = timedelta(days=1)


class LocalDay(NamedTuple):
    """A day: `start` belongs to it, `end` is the start of the next one, which lasts until `next_end`."""

    day: date
    start: Instant
    end: Instant
    next_end: Instant


_days: dict[str, LocalDay] = {}
"""The day of each zone that was asked for last: nearly always it is today. As many as there are zones."""


_OF_NO_PLACE = {"localtime", "Factory"}
"""What each machine takes for its own: two of them would count different days."""


@cache
def time_zones() -> frozenset[str]:
    """The names of all time zones that can be set."""
    return frozenset(available_timezones() - _OF_NO_PLACE)


def local_day(zone: str, at: Instant) -> LocalDay:
    """The day in the zone (one of `time_zones()`) that `at` belongs to."""
    known = _days.get(zone)
    if known is None or not known.start <= at < known.end:
        day = moment_of(at).astimezone(ZoneInfo(zone)).date()
        known = _days[zone] = LocalDay(
            day=day,
            start=day_start(zone, day),
            end=day_start(zone, day + _DAY),
            next_end=day_start(zone, day + 2 * _DAY),
        )
    return known


class LocalMonth(NamedTuple):
    """A calendar month: `start` belongs to it, `end` is the start of the next one, which lasts until `next_end`."""

    start: Instant
    end: Instant
    next_end: Instant


_months: dict[str, LocalMonth] = {}


def local_month(zone: str, at: Instant) -> LocalMonth:
    """The calendar month in the zone (one of `time_zones()`) that `at` belongs to."""
    known = _months.get(zone)
    if known is None or not known.start <= at < known.end:
        first = local_day(zone, at).day.replace(day=1)
        starts = [day_start(zone, _months_later(first, number)) for number in range(3)]
        known = _months[zone] = LocalMonth(start=starts[0], end=starts[1], next_end=starts[2])
    return known


def _months_later(first: date, number: int) -> date:
    years, month = divmod(first.month - 1 + number, 12)
    return date(first.year + years, month + 1, 1)


def day_start(zone: str, day: date) -> Instant:
    """When the day begins in the zone: the first instant of it, also where there is no midnight, or there are two."""
    midnight = datetime.combine(day, time(), ZoneInfo(zone))
    return instant_of(midnight)
