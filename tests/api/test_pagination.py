"""Cursors and pages."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.pagination import decode_cursor, encode_cursor

PART = st.text(st.characters(categories=["L", "N", "P"]), max_size=80)


@given(PART, PART)
def test_a_cursor_comes_back(sort: str, key: str) -> None:
    """What a list hands out it takes back."""
    assert decode_cursor(encode_cursor((sort, key))) == (sort, key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "!!",
        "null",
        "ä",
        base64.urlsafe_b64encode(b'["a"]').decode(),
        base64.urlsafe_b64encode(b'["a", "b"]').decode().rstrip("="),
        base64.urlsafe_b64encode(b'["a\\u0000","b"]').decode().rstrip("="),
        base64.urlsafe_b64encode(b'{"a":1}').decode().rstrip("="),
        encode_cursor(("a", "b")) + "=",
        encode_cursor(("a" * 500, "b")),
    ],
)
def test_made_up_cursors_are_refused(text: str) -> None:
    """A cursor that no list handed out is 400 with its own code."""
    with pytest.raises(ApiError) as caught:
        decode_cursor(text)
    assert (caught.value.code, caught.value.status, caught.value.param) == ("invalid_cursor", 400, "cursor")


@given(st.text(max_size=60))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    """Any text is a cursor or a refusal."""
    try:
        decode_cursor(text)
    except ApiError as error:
        assert error.code == "invalid_cursor"  # noqa: PT017  # either is right
