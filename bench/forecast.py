"""`python -m bench.forecast`: the forecast of usage against made-up series, of which it has seen the beginning only.

The series are synthetic: noise around a level, with a weekday pattern, a trend, bursts, a late start, or days without
any use. They are not customers' data, and say how the method behaves, not how well it will do for anybody.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable, Sequence
from itertools import product

from msgspec import Struct

from api.forecast import CONFIDENCE_PERCENT, forecast

Series = list[int]
LENGTH = 120
PERIOD = 30
ORIGINS = (3, 10, 20, 27)
"""Days of the period that are over."""
FITTED = range(40)
"""Seeds of the series on which the method's constants were chosen; the others are only ever reported."""
REPORTED = range(1_000, 1_200)
LEVEL = 2_000_000
WEEKDAYS = (1.25, 1.3, 1.2, 1.25, 1.1, 0.5, 0.4)


def steady(dice: random.Random) -> Series:
    """The same every day, but for noise."""
    return [_noisy(dice, LEVEL, 0.25) for _ in range(LENGTH)]


def weekly(dice: random.Random) -> Series:
    """Little at weekends."""
    return [_noisy(dice, LEVEL * WEEKDAYS[day % 7], 0.25) for day in range(LENGTH)]


def growing(dice: random.Random) -> Series:
    """Little at weekends, and a twentieth to an eighth more each week."""
    growth = 1 + dice.uniform(0.05, 0.125) / 7
    return [_noisy(dice, LEVEL * growth**day * WEEKDAYS[day % 7], 0.25) for day in range(LENGTH)]


def shrinking(dice: random.Random) -> Series:
    """Little at weekends, and less each week."""
    growth = 1 - dice.uniform(0.05, 0.125) / 7
    return [_noisy(dice, LEVEL * growth**day * WEEKDAYS[day % 7], 0.25) for day in range(LENGTH)]


def climbing(dice: random.Random) -> Series:
    """Little at weekends, and so much more each day: new from six weeks before the period on, by a straight line."""
    begun = LENGTH - PERIOD - 42
    rising = [LEVEL * (day + 1) / 30 * WEEKDAYS[day % 7] for day in range(LENGTH - begun)]
    return [0] * begun + [_noisy(dice, level, 0.25) for level in rising]


def swinging(dice: random.Random) -> Series:
    """Little at weekends, and by turns more and less within a month."""
    phase = dice.uniform(0, 2 * math.pi)
    levels = [1 + 0.3 * math.sin(phase + day * 2 * math.pi / 30) for day in range(LENGTH)]
    return [_noisy(dice, LEVEL * level * WEEKDAYS[day % 7], 0.25) for day, level in enumerate(levels)]


def bursty(dice: random.Random) -> Series:
    """Steady, and one day in twelve five to fifteen times as much: a batch was run."""
    return [_noisy(dice, LEVEL, 0.25) * (dice.randrange(5, 15) if dice.random() < 1 / 12 else 1) for _ in range(LENGTH)]


def late(dice: random.Random) -> Series:
    """An account that began six days before the period."""
    begun = LENGTH - PERIOD - 6
    return [0] * begun + [_noisy(dice, LEVEL * WEEKDAYS[day % 7], 0.25) for day in range(begun, LENGTH)]


def sparse(dice: random.Random) -> Series:
    """Used on one day in four, by a person."""
    return [_noisy(dice, LEVEL, 0.8) if dice.random() < 1 / 4 else 0 for _ in range(LENGTH)]


def jumping(dice: random.Random) -> Series:
    """Twice to four times as much from some day of the period on: a customer went live. Nobody could know."""
    day_live, factor = LENGTH - PERIOD + dice.randrange(PERIOD), dice.uniform(2, 4)
    return [_noisy(dice, LEVEL * (factor if day >= day_live else 1), 0.25) for day in range(LENGTH)]


KINDS: tuple[Callable[[random.Random], Series], ...] = (
    *(steady, weekly, growing, shrinking, climbing, swinging),
    *(bursty, late, sparse, jumping),
)


def _noisy(dice: random.Random, level: float, sigma: float) -> int:
    return int(level * math.exp(dice.gauss(0, sigma) - sigma * sigma / 2))


class Score(Struct, frozen=True, kw_only=True):
    """How the forecasts of one kind, made after the same number of days, came out."""

    kind: str
    over: int
    inside: float
    """Share of the ranges that held the truth."""
    error: float
    """Of the period's total: the middle of all absolute errors, as a share."""
    bias: float
    """The middle of all errors with their sign."""
    width: float
    """The middle of all ranges' widths, as a share of the total."""


def scores(seeds: Sequence[int]) -> list[Score]:
    """Every kind after every number of days."""
    return [_score(kind, over, seeds) for kind, over in product(KINDS, ORIGINS)]


def _score(kind: Callable[[random.Random], Series], over: int, seeds: Sequence[int]) -> Score:
    inside, errors, widths = [], [], []
    for seed in seeds:
        series = kind(random.Random(seed))
        now = LENGTH - PERIOD + over
        used, total = sum(series[LENGTH - PERIOD : now]), sum(series[LENGTH - PERIOD :])
        said = forecast(series[:now], [(1, 1)] * (PERIOD - over))
        inside.append(said.low <= total - used <= said.high)
        errors.append((used + said.expected - total) / max(total, 1))
        widths.append((said.high - said.low) / max(total, 1))
    return Score(
        kind=kind.__name__,
        over=over,
        inside=statistics.fmean(inside),
        error=statistics.median(map(abs, errors)),
        bias=statistics.median(errors),
        width=statistics.median(widths),
    )


def main() -> None:
    """Prints a table."""
    words = argparse.ArgumentParser(prog="python -m bench.forecast", description=__doc__)
    words.add_argument("--fitted", action="store_true", help="of the series on which the constants were chosen")
    seeds = FITTED if words.parse_args().fitted else REPORTED
    print(f"{len(seeds)} synthetic series of each kind; the range is meant to hold {CONFIDENCE_PERCENT} %")
    print(f"{'series':10} {'days over':>9} {'in range':>9} {'error':>7} {'bias':>7} {'width':>7}")
    for each in scores(seeds):
        name = f"{each.kind:10} {each.over:>9} {each.inside:>9.0%}"
        print(f"{name} {each.error:>7.1%} {each.bias:>+7.1%} {each.width:>7.1%}")


if __name__ == "__main__":
    main()
