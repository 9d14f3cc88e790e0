"""What JSON may come in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.json_door import DEPTH_MAX, check_json

REFUSED = {
    "nothing": (b"", "invalid_json"),
    "no JSON": (b"{", "invalid_json"),
    "a trailing comma": (b'{"a":1,}', "invalid_json"),
    "two documents": (b"{}{}", "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "invalid_json"),
    "broken UTF-8": (b'{"a":"\xff"}', "invalid_json"),
    "a surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "invalid_json"),
    "a control character": (b'{"a":"\x01"}', "invalid_json"),
    "NaN": (b'{"a":NaN}', "invalid_json"),
    "Infinity": (b'{"a":-Infinity}', "invalid_json"),
    "an infinite number": (b'{"a":1e999}', "invalid_request"),
    "an integer beyond 64 bits": (b'{"a":9223372036854775808}', "invalid_request"),
    "an endless integer": (b'{"a":' + b"9" * 10_000 + b"}", "invalid_request"),
    "a field given twice": (b'{"a":1,"a":2}', "invalid_request"),
    "a nested field given twice": (b'{"a":[{"b":1,"b":2}]}', "invalid_request"),
    "NUL": (b'{"a":"x\\u0000"}', "invalid_request"),
    "NUL in a name": (b'{"\\u0000":1}', "invalid_request"),
    "NUL in a list": (b'{"a":[["\\u0000"]]}', "invalid_request"),
    "a lone surrogate": (b'{"a":{"b":["\\ud800"]}}', "invalid_request"),
    "a reversed pair": (b'{"a":"\\udc00\\ud800"}', "invalid_request"),
    "one level too deep": (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "invalid_json"),
    "very deep": (b"[" * 60_000, "invalid_json"),
    "deep objects": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "invalid_json"),
}

TAKEN = {
    "the deepest": b"[" * DEPTH_MAX + b"]" * DEPTH_MAX,
    "the largest integers": b"[9223372036854775807,-9223372036854775808]",
    "a pair of surrogates": b'"\\ud83d\\ude00"',
    "an escaped backslash before u0000": b'"\\\\u0000"',
    "brackets in a string": b'"' + b"[{" * 1_000 + b'"',
    "the same name in two objects": b'[{"a":1},{"a":2}]',
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_a_store_could_not_keep(name: str) -> None:
    """Each kind of bad JSON is a refusal with its own code, never a crash."""
    body, code = REFUSED[name]
    with pytest.raises(ApiError) as caught:
        check_json(body)
    assert caught.value.code == code
    assert caught.value.status == 400
    caught.value.body("req_1")


@pytest.mark.parametrize("name", TAKEN)
def test_takes_what_only_looks_bad(name: str) -> None:
    """What only resembles a bad body passes."""
    check_json(TAKEN[name])


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PLAIN,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(PLAIN, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_takes_every_value_that_both_stores_keep(value: Any, ascii_only: bool) -> None:
    """Any plain value is taken, however its characters are escaped."""
    check_json(json.dumps(value, ensure_ascii=ascii_only).encode())


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_taken_or_refused(body: bytes) -> None:
    """No bytes make anything but an acceptance or a refusal."""
    try:
        check_json(body)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  # either is right
