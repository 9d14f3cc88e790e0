"""Instants as text: RFC 3339 in UTC with `Z`, microseconds only where there are any."""

import re
from datetime import UTC, datetime, timedelta

from api.errors import ApiError
from domain.instant import SECOND, Instant

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX: Instant = 253_402_300_800 * SECOND - 1
"""The end of the year 9999: later times cannot be written."""


def format_instant(at: Instant) -> str:
    """`2026-11-22T13:05:26Z`, or with six places of seconds if it does not fall on a whole one."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def maybe_instant(at: Instant | None) -> str | None:
    """The same for what may be absent."""
    return None if at is None else format_instant(at)


def parse_instant(text: str, *, name: str, code: str = "invalid_request") -> Instant:
    """The instant of an RFC 3339 time with an offset. `ApiError` with `param` = `name` for anything else."""
    try:
        usable = _TIME.fullmatch(text) is not None
        at = (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(microseconds=1) if usable else -1
    except (ValueError, OverflowError):
        at = -1
    if not 0 <= at <= INSTANT_MAX:
        message = f"{name} must be a time after 1970 in RFC 3339 with an offset, such as 2026-11-22T13:05:26Z."
        if " " in text:
            message += " In an address a + is written %2B."
        raise ApiError(code, message, param=name)
    return at
