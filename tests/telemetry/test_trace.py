"""W3C trace context."""

import pytest

from telemetry import trace

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_takes_what_the_specification_gives_as_example() -> None:
    """A valid header is passed on unchanged."""
    assert trace.parse(GOOD) == GOOD


def test_a_later_version_is_read_as_the_first() -> None:
    """What a future version adds behind the four fields is dropped."""
    assert trace.parse("cc" + GOOD[2:] + "-what-the-future-will-be-like") == GOOD


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        GOOD.upper(),
        GOOD + "-more",
        "ff" + GOOD[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD[:-1],
        GOOD.replace("4", "g"),
        "00-" + "1" * 10_000,
    ],
)
def test_ignores_what_is_malformed(header: str | None) -> None:
    """A broken header starts a new trace instead of being passed on."""
    assert trace.parse(header) is None


def test_makes_valid_ones() -> None:
    """What is made here is taken there, and each is another."""
    made = {trace.new() for _ in range(100)}
    assert len(made) == 100
    assert all(trace.parse(each) == each for each in made)
