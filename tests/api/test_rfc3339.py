"""Times as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.rfc3339 import INSTANT_MAX, format_instant, parse_instant


@given(st.integers(0, INSTANT_MAX))
def test_times_come_back(at: int) -> None:
    """Every instant that can be written is read again to the microsecond."""
    assert parse_instant(format_instant(at), name="at") == at


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-22T13:05:26Z", "2026-11-22T13:05:26Z"),
        ("2026-11-22T13:05:26.5Z", "2026-11-22T13:05:26.500000Z"),
        ("2026-11-22t13:05:26z", "2026-11-22T13:05:26Z"),
        ("2026-11-22T15:05:26+02:00", "2026-11-22T13:05:26Z"),
    ],
)
def test_reads_what_the_rfc_allows(text: str, shown: str) -> None:
    """Offsets, fractions and small letters are fine; UTC comes out."""
    assert format_instant(parse_instant(text, name="at")) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T13:05:26",
        "20261122T130526Z",
        "2026-02-30T00:00:00Z",
        "1969-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:00",
        "2026-W47-1T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "١٩٩٩-11-22T13:05:26Z",
    ],
)
def test_refuses_other_times(text: str) -> None:
    """Anything else is refused with the name of the field."""
    with pytest.raises(ApiError) as caught:
        parse_instant(text, name="expires_at")
    assert caught.value.param == "expires_at"
