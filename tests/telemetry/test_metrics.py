"""Our histograms say what the client library's would."""

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest

from telemetry.metrics import SECONDS, Histogram

VALUES = st.one_of(st.sampled_from(SECONDS), st.floats(min_value=0, max_value=1_000))


@given(st.lists(st.tuples(st.sampled_from(["/a", '/"b\n']), VALUES), max_size=20))
def test_says_what_the_client_library_would(observed: list[tuple[str, float]]) -> None:
    """Letter for letter, whatever was observed, on a bucket's bound too, and under labels that must be escaped."""
    ours, theirs = prometheus_client.CollectorRegistry(), prometheus_client.CollectorRegistry()
    mine = Histogram("formstate_test_seconds", "Of a test.", ("route",), SECONDS)
    ours.register(mine)
    theirs_made = prometheus_client.Histogram(
        "formstate_test_seconds", "Of a test.", ("route",), buckets=SECONDS, registry=theirs
    )
    for route, value in sorted(observed, key=lambda each: each[0]):
        mine.labels(route).observe(value)
        theirs_made.labels(route).observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_one_without_labels_is_there_before_anything_was_seen() -> None:
    """So that a rate can be asked of it from the start. Labels that it does not have are a mistake of ours."""
    registry = prometheus_client.CollectorRegistry()
    made = Histogram("formstate_test_seconds", "Of a test.", (), SECONDS)
    registry.register(made)
    assert b"formstate_test_seconds_count 0.0" in generate_latest(registry)
    with pytest.raises(ValueError, match="labels"):
        made.labels("/a")
