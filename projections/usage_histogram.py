"""Histograms that can be added up: how often a figure fell between two bounds that lie at most a tenth apart.

The middle of a class is at most 5 % away from whatever fell into it, so a percentile read from a histogram, or from the
sum of many, is within 5 % of a value that was really there at that rank. Small values have classes of their own.
"""

from bisect import bisect_right
from collections.abc import Iterable

from domain.account.usage import TOKENS_MAX

CLASSES = 256
"""More than there are, which reach further than a request's tokens can; class and part of the day are one number."""
ERROR_PERCENT = 5
"""How far a percentile may be from the true one, at most."""


def _bounds() -> tuple[int, ...]:
    bounds = [0]
    while bounds[-1] <= 6 * TOKENS_MAX:
        bounds.append(max(bounds[-1] + 1, bounds[-1] * 11 // 10))
    return tuple(bounds)


BOUNDS = _bounds()
"""The least value of each class."""
assert len(BOUNDS) <= CLASSES


def class_of(value: int) -> int:
    """The class that a value falls into; all that is beyond the last bound falls into the last."""
    return bisect_right(BOUNDS, value) - 1


def middle(number: int) -> int:
    """What stands for a class: the value that is, in proportion, equally far from its ends."""
    low, high = BOUNDS[number], (BOUNDS[number + 1] if number + 1 < len(BOUNDS) else BOUNDS[number] + 1) - 1
    return low if low == high else (4 * low * high + low + high) // (2 * (low + high))


def code_of(part: int, value: int) -> int:
    """The entry in which a value of a part of the day is counted."""
    return part * CLASSES + class_of(value)


def counted(histogram: str, code: int, change: int) -> str:
    """The histogram with so many more in an entry (or less, where the number is negative).

    It is a text, ` code:count code:count `, in which one count is changed without reading the others.
    """
    mark = f" {code}:"
    before, found, rest = histogram.partition(mark)
    if not found:
        return f"{histogram[:-1]}{mark}{change} "
    count, _, behind = rest.partition(" ")
    return f"{before}{mark}{int(count) + change} {behind}"


def add_parts(into: dict[int, int], histogram: str, parts: range) -> None:
    """Adds a histogram's counts of these parts of the day, by class. Changes `into`."""
    for entry in histogram.split():
        code, _, count = entry.partition(":")
        part, number = divmod(int(code), CLASSES)
        if part in parts:
            into[number] = into.get(number, 0) + int(count)


def percentiles(counts: dict[int, int], percents: Iterable[int]) -> list[int | None]:
    """For each percent the value below or at which so many lie (nearest rank); `None` where nothing was counted."""
    classes = sorted((number, count) for number, count in counts.items() if count > 0)
    total = sum(count for _, count in classes)
    return [None if total == 0 else _at_rank(classes, max(-(-total * percent // 100), 1)) for percent in percents]


def _at_rank(classes: list[tuple[int, int]], rank: int) -> int:
    reached = 0
    for number, count in classes:
        reached += count
        if reached >= rank:
            return middle(number)
    raise AssertionError("a rank lies within the total")
