"""Times for operators, in exports and in notices: RFC 3339 in UTC, always with six places of seconds."""

from datetime import datetime

from domain.instant import Instant, instant_of, moment_of


def format_instant(at: Instant) -> str:
    """`2026-11-22T13:05:26.000000Z`."""
    return moment_of(at).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> Instant:
    """The instant of an RFC 3339 time. `ValueError` says what is wrong with anything else: no zone is guessed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no RFC 3339 time such as 2026-07-01T12:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: end it with Z for UTC")
    return instant_of(moment)
