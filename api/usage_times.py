"""Periods and stretches of time as an account counts them: from a query's words to instants, and back to labels."""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from api.errors import ApiError, declare
from api.parts import Services
from api.rfc3339 import INSTANT_MAX, parse_instant
from domain.instant import DAY, HOUR, Instant, moment_of
from projections.local_days import day_start, time_zones
from projections.preferences import get_preferences
from projections.usage import QUARTER

PERIOD_DEFAULT: Instant = 30 * DAY
PERIOD_MAX: Instant = 366 * DAY
Unit: TypeAlias = Literal["hour", "day", "quarter"]
UNIT_PERIOD_MAX: dict[Unit, Instant] = {"day": PERIOD_MAX, "hour": 92 * DAY, "quarter": 31 * DAY}
"""How long a period can be that is shown in such stretches."""
LAST: Instant = INSTANT_MAX - INSTANT_MAX % QUARTER
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY = timedelta(days=1)

declare(
    "invalid_period",
    "invalid",
    "The period is wrong.",
    "`from` and `to` are RFC 3339 times or dates, `from` before `to`, at most 366 days apart; 92 by hours, 31 by"
    " quarters of an hour.",
)

Moment = Annotated[
    str,
    Meta(
        description="An RFC 3339 time, or a date, which stands for its beginning in the time zone.",
        # Each with its type, which generators of clients ask for.
        extra_json_schema={"anyOf": [{"type": "string", "format": each} for each in ("date-time", "date")]},
    ),
]
ZoneName = Annotated[
    str,
    Meta(
        max_length=64,
        description="A name of the IANA database, such as Europe/Berlin; the account's own zone unless it is given.",
    ),
]


class PeriodQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`from` is included, `to` is not; without them the last 30 days up to now."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    time_zone: ZoneName | None = None


class Stretches(Struct, frozen=True, kw_only=True):
    """A period cut at its days, hours or quarters: when each stretch begins, and what it is called."""

    times: Sequence[Instant]
    labels: Sequence[str]


WHOLE = Stretches(times=(0,), labels=("",))
"""A period that is not cut."""


async def zone_of(services: Services, account_id: str, named: str | None) -> str:
    """The time zone that was named, or else the account's own. 400 `invalid_time_zone`."""
    if named is None:
        return (await get_preferences(services.documents, services.shards, account_id)).time_zone
    if named not in time_zones():
        raise ApiError("invalid_time_zone", param="time_zone")
    return named


def period(from_: str | None, to: str | None, now: Instant, zone: str) -> tuple[Instant, Instant]:
    """Beginning and end of what was asked for, widened to quarters of an hour. 400 `invalid_period`."""
    end = now if to is None else _moment(to, "to", zone)
    start = end - PERIOD_DEFAULT if from_ is None else _moment(from_, "from", zone)
    if start >= end:
        raise ApiError("invalid_period", "from must lie before to.", param="from")
    if end - start > PERIOD_MAX + HOUR:  # one that begins in summer and ends in winter has an hour more
        raise ApiError("invalid_period", "A period can be at most 366 days long.", param="from")
    return max(start - start % QUARTER, 0), min(-(-end // QUARTER) * QUARTER, LAST)


def _moment(text: str, name: str, zone: str) -> Instant:
    if not _DATE.fullmatch(text):
        return parse_instant(text, name=name, code="invalid_period")
    parse_instant(f"{text}T00:00:00Z", name=name, code="invalid_period")  # refuses what is no date
    return min(max(day_start(zone, date.fromisoformat(text)), 0), LAST)


def stretches(unit: Unit | None, zone: str, start: Instant, end: Instant) -> Stretches:
    """The stretches of the period. 400 `invalid_period` where they would be too many."""
    if unit is None:
        return WHOLE
    longest = UNIT_PERIOD_MAX[unit]
    if end - start > longest + DAY:
        message = f"By {unit}, a period can be at most {longest // DAY} days long."
        raise ApiError("invalid_period", message, param="from")
    if unit == "day":
        days = list(_days(zone, start, end))
        return Stretches(times=[at for at, _ in days], labels=[day.isoformat() for _, day in days])
    length = HOUR if unit == "hour" else QUARTER
    steps = list(_steps(zone, start, end, length))
    return Stretches(times=[at for at, _ in steps], labels=[_label(local, length) for _, local in steps])


def _days(zone: str, start: Instant, end: Instant) -> Iterator[tuple[Instant, date]]:
    """The days of the period, from the one that it begins in. A day that a zone left out altogether is left out."""
    day = local(zone, start).date()
    at = day_start(zone, day)
    while at < end:
        next_day = min(day, date.max - _DAY) + _DAY
        next_at = day_start(zone, next_day) if next_day > day else end
        if next_at > at:
            yield at, day
        day, at = next_day, next_at


def _steps(zone: str, start: Instant, end: Instant, length: Instant) -> Iterator[tuple[Instant, datetime]]:
    """Each stretch up to the next full hour (or quarter) of the zone's clock, however that is set forward or back."""
    at = start
    while at < end:
        clock = local(zone, at)
        offset = (clock.utcoffset() or timedelta()) // timedelta(microseconds=1)
        yield at, clock
        at += length - (at + offset) % length


def local(zone: str, at: Instant) -> datetime:
    """What the zone's clocks show; at the end of time those of UTC."""
    utc = moment_of(at)
    try:
        return utc.astimezone(ZoneInfo(zone))
    except OverflowError:
        return utc


def _label(clock: datetime, length: Instant) -> str:
    """When the stretch began by that clock, with its offset: at the end of summer an hour comes twice."""
    minute = clock.minute - clock.minute % (length // (HOUR // 60))
    # The zone would find another offset for the full hour where clocks are set back by half of one.
    told = clock.replace(minute=minute, second=0, microsecond=0, tzinfo=timezone(clock.utcoffset() or timedelta()))
    return told.isoformat().replace("+00:00", "Z")
