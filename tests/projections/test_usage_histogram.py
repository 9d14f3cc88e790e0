"""Histograms: as exact as they say, and the same whether requests are counted together or apart."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from domain.account.usage import TOKENS_MAX
from projections.usage_histogram import (
    BOUNDS,
    ERROR_PERCENT,
    add_parts,
    class_of,
    code_of,
    counted,
    middle,
    percentiles,
)

values = st.one_of(st.integers(0, 100), st.integers(0, 5 * TOKENS_MAX))


@given(values)
def test_the_middle_of_a_class_is_near(value: int) -> None:
    """Within 5 % of whatever fell into it, and exact where values are small."""
    found = middle(class_of(value))
    assert abs(found - value) * 100 <= ERROR_PERCENT * value
    assert value > 10 or found == value


def test_every_class_is_as_narrow_as_it_says() -> None:
    """Both ends of each class, all of them: the property above meets few."""
    for number, low in enumerate(BOUNDS[:-1]):
        for end in (low, BOUNDS[number + 1] - 1):
            assert class_of(end) == number
            assert abs(middle(number) - end) * 100 <= ERROR_PERCENT * end


@given(st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=60), st.sampled_from((1, 50, 95, 100)))
def test_a_percentile_is_near_the_true_one(counts: list[tuple[int, int]], percent: int) -> None:
    """The value at the nearest rank, within 5 %, from any parts of the day, merged from two histograms."""
    histograms = ["", ""]
    for number, (part, value) in enumerate(counts):
        histograms[number % 2] = counted(histograms[number % 2], code_of(part, value), 1)
    for parts in (range(4), range(1, 3)):
        merged: dict[int, int] = {}
        for histogram in histograms:
            add_parts(merged, histogram, parts)
        known = sorted(value for part, value in counts if part in parts)
        [found] = percentiles(merged, [percent])
        if not known:
            assert found is None
            continue
        true = known[max(ceil(len(known) * percent / 100), 1) - 1]
        assert found is not None
        assert abs(found - true) * 100 <= ERROR_PERCENT * true


@given(st.lists(values, min_size=1))
def test_what_is_taken_back_was_never_there(taken: list[int]) -> None:
    """Counts of 0 do not show."""
    histogram = ""
    for value in taken:
        code = code_of(1, value)
        histogram = counted(counted(histogram, code, 1), code, -1)
    merged: dict[int, int] = {}
    add_parts(merged, histogram, range(4))
    assert percentiles(merged, (50,)) == [None]
