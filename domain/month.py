"""Calendar months in UTC, from any day of a month to the same day of another."""

from calendar import monthrange

from domain.instant import DAY, Instant, instant_of, moment_of


def day_of(at: Instant) -> int:
    """The day of its month, 1 to 31."""
    return moment_of(at).day


def months_later(at: Instant, months: int, day: int) -> Instant:
    """The same time of day so many months later (or earlier), on `day`, or on the month's last day if it has none such.

    With the day of a first period at hand, periods that began on a 31st end on the 28th or 30th and on the 31st again.
    """
    moment = moment_of(at)
    years, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    last = monthrange(years, month + 1)[1]
    return instant_of(moment.replace(year=years, month=month + 1, day=min(day, last)))


def months_between(start: Instant, end: Instant) -> int:
    """How many months' names lie between the two: 1 from any day of January to any day of February."""
    first, last = moment_of(start), moment_of(end)
    return (last.year - first.year) * 12 + last.month - first.month


def falls_on(at: Instant, day: int) -> bool:
    """Whether `at` is on `day` of its month, or on the last one of a month that has none such."""
    return day_of(at) == day or (day_of(at) < day and day_of(at + DAY) == 1)
