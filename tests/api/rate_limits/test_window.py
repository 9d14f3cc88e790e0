"""The sliding window against an exact log of what was admitted."""

from hypothesis import given
from hypothesis import strategies as st

from api.rate_limits.window import SLICES, Window

LENGTH_S = 60.0
SLICE_S = LENGTH_S / SLICES
PAUSES = st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 10), st.floats(55, 65), st.floats(0, 200))
START = 1_000_003.7


def busiest(times: list[float], span_s: float) -> int:
    """The most of them in any half-open span of this length."""
    return max((sum(at <= other < at + span_s for other in times) for at in times), default=0)


@given(st.integers(1, 12), st.lists(PAUSES, max_size=80))
def test_no_window_sees_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    """Whoever asks however often: in any span of the window's length at most the limit is admitted."""
    window, now = Window(LENGTH_S, START), START
    admitted: list[float] = []
    for pause in pauses:
        now += pause
        for _ in range(3):
            if window.advance(now) < limit:
                window.add()
                admitted.append(now)
    assert busiest(admitted, LENGTH_S) <= limit


@given(st.integers(1, 12), st.lists(PAUSES, max_size=60))
def test_nothing_is_refused_without_reason(limit: int, pauses: list[float]) -> None:
    """A refusal means that the limit was admitted within the window and one slice; and the wait it names ends it."""
    window, now = Window(LENGTH_S, START), START
    admitted: list[float] = []
    for pause in pauses:
        now += pause
        total = window.advance(now)
        recent = [at for at in admitted if at > now - LENGTH_S - SLICE_S]
        assert sum(1 for at in admitted if at > now - LENGTH_S) <= total <= len(recent)
        if total < limit:
            window.add()
            admitted.append(now)
        else:
            wait_s = window.frees_in_s(now)
            assert 0 < wait_s <= LENGTH_S + SLICE_S
            assert window.advance(now + wait_s + 1e-6) < limit
            now += wait_s + 1e-6


def test_an_even_pace_gets_through() -> None:
    """Whoever asks at the pace of the limit gets 60 of 61 at least."""
    window, admitted = Window(LENGTH_S, 0.0), 0
    for number in range(6_000):
        if window.advance(number * 1.0) < 60:
            window.add()
            admitted += 1
    assert admitted >= 6_000 * SLICES // (SLICES + 1)


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=40))
def test_a_clock_that_goes_back_frees_nothing(steps: list[float]) -> None:
    """Time that runs backwards lets nobody in; it only stands still until it has come back."""
    window, now, furthest = Window(LENGTH_S, START), START, START
    window.add(5)
    for step in steps:
        now = max(now + step, 0.0)
        furthest = max(furthest, now)
        total = window.advance(now)
        assert total in (0, 5)
        assert (total == 5) >= (furthest - START <= LENGTH_S)


@given(st.integers(0, 500), st.floats(0, 100), st.integers(1, 300))
def test_what_came_evenly_leaves_evenly(count: int, over_s: float, wanted: int) -> None:
    """Spread counts are all there, the newest stay a whole window, and all are gone after it."""
    window = Window(LENGTH_S, START)
    window.spread(count, over_s)
    kept = window.advance(START)
    assert kept == window.total <= count
    assert kept == count or over_s >= LENGTH_S
    assert kept >= count * LENGTH_S / max(over_s + SLICE_S, LENGTH_S + SLICE_S) - 1
    assert window.frees_in_s(START, wanted) <= LENGTH_S + SLICE_S
    assert window.advance(START + LENGTH_S + SLICE_S) == 0
