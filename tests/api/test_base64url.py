"""Base64url: one text for the same bytes."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from api.base64url import decoded, encoded


@given(st.binary(max_size=40))
def test_what_is_encoded_is_decoded(raw: bytes) -> None:
    """And no padding is written."""
    assert decoded(encoded(raw)) == raw
    assert "=" not in encoded(raw)


@given(st.one_of(st.text(max_size=12), st.text("AZaz09-_+/=", max_size=12)))
def test_no_bytes_have_two_texts(text: str) -> None:
    """Any text is refused with `ValueError`, or is the one spelling of what it decodes to."""
    with contextlib.suppress(ValueError):
        assert encoded(decoded(text)) == text
