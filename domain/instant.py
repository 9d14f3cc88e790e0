"""Time as data: the domain is told what time it is and never reads a clock."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Instant: TypeAlias = int
"""Microseconds since 1970-01-01T00:00:00Z. An integer, so that it survives JSON and arithmetic unchanged."""

SECOND: Instant = 1_000_000
MINUTE: Instant = 60 * SECOND
HOUR: Instant = 60 * MINUTE
DAY: Instant = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment_of(at: Instant) -> datetime:
    """The instant as a date and a time of day in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def instant_of(moment: datetime) -> Instant:
    """The instant of a date and a time of day with an offset."""
    return (moment - _EPOCH) // _MICROSECOND


def format_instant(at: Instant) -> str:
    """RFC 3339: `2026-11-22T13:05:26Z`, or with six places of seconds if it does not fall on a whole one."""
    return moment_of(at).isoformat().replace("+00:00", "Z")
