"""Instants as text: RFC 3339 in UTC with `Z`, microseconds only where there are any."""

import re
from datetime import datetime

from api.errors import ApiError
from domain.instant import SECOND, Instant, format_instant, instant_of

__all__ = ["INSTANT_MAX", "format_instant", "maybe_instant", "parse_instant"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
INSTANT_MAX: Instant = 253_402_300_800 * SECOND - 1
"""The end of the year 9999: later times cannot be written."""


def maybe_instant(at: Instant | None) -> str | None:
    """The instant as text, for one that may be absent."""
    return None if at is None else format_instant(at)


def parse_instant(text: str, *, name: str, code: str = "invalid_request") -> Instant:
    """The instant of an RFC 3339 time with an offset. `ApiError` with `param` = `name` for anything else."""
    try:
        usable = _TIME.fullmatch(text) is not None
        at = instant_of(datetime.fromisoformat(text.upper())) if usable else -1
    except (ValueError, OverflowError):
        at = -1
    if not 0 <= at <= INSTANT_MAX:
        message = f"{name} must be a time after 1970 in RFC 3339 with an offset, such as 2026-11-22T13:05:26Z."
        if " " in text:
            message += " In an address a + is written %2B."
        raise ApiError(code, message, param=name)
    return at
