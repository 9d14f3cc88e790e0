"""What will have been used when a period ends: from the days before, in whole micro-credits.

Everything that has a figure here is an integer. The days of the week are told apart by their distance, so nothing has
to know which of them is a Monday. `python -m bench.forecast` holds the forecast against made-up series.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Literal, TypeAlias

from msgspec import Struct

from domain.money import MicroCredits

Method: TypeAlias = Literal["weekday_profile", "daily_mean", "pace_of_today", "none"]
Part = tuple[int, int]
"""How much of a day is meant: numerator and denominator."""

WEEK = 7
LEVEL_DAYS = 2 * WEEK
"""The level is the mean of the last two weeks."""
HISTORY_DAYS = 8 * WEEK
"""Older days say nothing about the next ones."""
TREND_WEEKS_MIN = 4
"""Fewer weeks show no trend."""
TREND_DAYS_MAX = 2 * WEEK
"""A trend is believed for so long; after that the level stays."""
TREND_MOST = 7
"""No more is believed than that a week brings one in so many more or less than the week before."""
DOUBT = 4
"""A trend as large as its error is believed by one in so many and one, one of twice its error by half."""
CONFIDENCE_PERCENT = 80
Z_PERCENT = 128
"""Standard deviations, in hundredths, that 80 % of a normal distribution lie within."""
WIDER_PERCENT = 140
"""How much wider a range is than that, in hundredths: days are not independent, and their spread is itself a guess."""
SCARCE = 3
"""Fewer days than this say nothing about how days differ: any is then taken to be as uncertain as it is large."""
UNSURE = 100
"""Share of the level, in hundredths, that is taken for the spread then."""


class Forecast(Struct, frozen=True, kw_only=True):
    """What is still to come; with `CONFIDENCE_PERCENT` it lies between `low` and `high`."""

    low: MicroCredits
    expected: MicroCredits
    high: MicroCredits
    method: Method
    days: int
    """How many whole days it is made from."""


def forecast(days: Sequence[MicroCredits], ahead: Sequence[Part], pace: MicroCredits = 0) -> Forecast:
    """What the parts of days `ahead` will use, the first of which is today; `days` end with yesterday.

    `pace` is what today would come to if it went on as it has begun, where there is nothing before it.
    """
    known = _begun(days)[-HISTORY_DAYS:]
    if not known:
        expected = _sum([pace] * len(ahead), ahead)
        method: Method = "pace_of_today" if pace else "none"
        return _ranged(expected, pace * UNSURE // 100, ahead, 1, method, 0)
    predicted = _sum(_predicted(known, len(ahead)), ahead)
    unbelieved = _sum(_predicted(known, len(ahead), believing=True), ahead) - predicted
    method = "weekday_profile" if len(known) >= LEVEL_DAYS else "daily_mean"
    levelled = min(len(known), LEVEL_DAYS)
    return _ranged(predicted, _spread(known), ahead, levelled, method, len(known), unbelieved)


def _begun(days: Sequence[MicroCredits]) -> Sequence[MicroCredits]:
    """From the first day on which anything was used: before it there was nothing to know."""
    first = next((number for number, used in enumerate(days) if used > 0), len(days))
    return days[first:]


def _predicted(known: Sequence[MicroCredits], count: int, *, believing: bool = False) -> list[MicroCredits]:
    """The next `count` whole days, the trend believed as far as it is sure, and for a while; `believing`: for good."""
    if len(known) < LEVEL_DAYS:
        return [sum(known) // len(known)] * count
    share, whole = _trend(known, doubt=0 if believing else DOUBT)
    level_sum = sum(known[-LEVEL_DAYS:])
    for _ in range(LEVEL_DAYS // 2):  # the level is that of the middle of its days
        level_sum += level_sum * share // whole
    profile, profile_sum = _profile(known)
    predicted = []
    for number in range(count):
        if believing or number < TREND_DAYS_MAX:
            level_sum += level_sum * share // whole
        predicted.append(level_sum * profile[(len(known) + number) % WEEK] * WEEK // (LEVEL_DAYS * profile_sum))
    return predicted


def _trend(known: Sequence[MicroCredits], *, doubt: int) -> Part:
    """By what part of itself a day exceeds the day before: the slope of a line through the weeks, by their mean.

    Of it is believed slope² of (slope² + `doubt` · error²), the error being that of the slope by how the weeks scatter
    around the line: nothing of what could be chance, nearly all of what is plain.
    """
    weeks = len(known) // WEEK
    sums = [sum(known[end - WEEK : end]) for end in range(len(known), len(known) - weeks * WEEK, -WEEK)][::-1]
    places = range(1 - weeks, weeks, 2)  # in half weeks from the middle, so that they are whole
    across = sum(place * place for place in places)
    along = sum(place * used for place, used in zip(places, sums, strict=True))
    if weeks < TREND_WEEKS_MIN or along == 0:
        return 0, 1
    total = sum(sums)
    scatter = max(sum(used * used for used in sums) - total * total // weeks - along * along // across, 0)
    share = 2 * along * weeks * along * along
    whole = across * total * WEEK * (along * along + doubt * scatter * across // (weeks - 2))
    if abs(share) * WEEK * TREND_MOST > whole:
        return (1 if share > 0 else -1), WEEK * TREND_MOST
    return share, whole


def _profile(known: Sequence[MicroCredits]) -> tuple[list[MicroCredits], MicroCredits]:
    """What each day of the week weighs, by its distance from the first one; and the sum of all seven.

    As if there had been one more week with seven equal days: few weeks say little about their days.
    """
    weeks = len(known) // WEEK
    whole = known[len(known) - weeks * WEEK :]
    shift = len(known) - weeks * WEEK
    even = max(sum(whole) // len(whole), 1)
    profile = [even + sum(whole[(day - shift) % WEEK :: WEEK]) for day in range(WEEK)]
    return profile, sum(profile)


def _spread(known: Sequence[MicroCredits]) -> MicroCredits:
    """How far a day is from what the days before it had led to expect: the root of the mean square."""
    if len(known) < SCARCE:
        return sum(known) * UNSURE // (100 * len(known))
    first = max(len(known) - 4 * WEEK, min(LEVEL_DAYS, len(known) // 2))
    missed = [known[day] - _predicted(known[:day], 1)[0] for day in range(first, len(known))]
    return isqrt(sum(each * each for each in missed) // len(missed))


def _sum(predicted: Sequence[MicroCredits], ahead: Sequence[Part]) -> MicroCredits:
    return sum(used * part // whole for used, (part, whole) in zip(predicted, ahead, strict=True))


def _ranged(
    expected: MicroCredits,
    spread: MicroCredits,
    ahead: Sequence[Part],
    levelled: int,
    method: Method,
    days: int,
    unbelieved: MicroCredits = 0,
) -> Forecast:
    """Days scatter by themselves, and all of them together with the level, which is a mean of `levelled` days.

    `unbelieved` is what more (or less) it would be if the trend went on: the range reaches that far on its side.
    """
    hundredths = sum(part * 100 // whole for part, whole in ahead)
    scattered = hundredths * 100 + hundredths * hundredths // levelled
    reach = spread * isqrt(scattered) * Z_PERCENT * WIDER_PERCENT // 1_000_000
    low, high = expected - reach + min(unbelieved, 0), expected + reach + max(unbelieved, 0)
    return Forecast(low=max(low, 0), expected=expected, high=high, method=method, days=days)
