"""Days as an account's owner counts them: from midnight to midnight in its time zone, 23 to 25 hours long.

The rules are those of the IANA database, of the system or else of the package `tzdata`.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from domain.instant import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


class LocalDay(NamedTuple):
    """A day: `start` belongs to it, `end` is the start of the next one, which lasts until `next_end`."""

    day: date
    start: Instant
    end: Instant
    next_end: Instant


_days: dict[str, LocalDay] = {}
"""The day of each zone that was asked for last: nearly always it is today. As many as there are zones."""


@cache
def time_zones() -> frozenset[str]:
    """The names of all time zones that can be set."""
    return frozenset(available_timezones())


def local_day(zone: str, at: Instant) -> LocalDay:
    """The day in the zone (one of `time_zones()`) that `at` belongs to."""
    known = _days.get(zone)
    if known is None or not known.start <= at < known.end:
        day = (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone)).date()
        known = _days[zone] = LocalDay(
            day=day,
            start=day_start(zone, day),
            end=day_start(zone, day + _DAY),
            next_end=day_start(zone, day + 2 * _DAY),
        )
    return known


def day_start(zone: str, day: date) -> Instant:
    """When the day begins in the zone: the first instant of it, also where there is no midnight, or there are two."""
    midnight = datetime.combine(day, time(), ZoneInfo(zone))
    return (midnight - _EPOCH) // _MICROSECOND
