"""What JSON may come in. Memory would take more than Postgres does, so both get only what both can keep."""

import json
import math
from typing import Any, NoReturn

from api.errors import ApiError

DEPTH_MAX = 64
INTEGER_MAX = 2**63 - 1
_INTEGER_DIGITS_MAX = 20


def check_json(body: bytes) -> None:
    """Refuses with 400 what no route takes, wherever in the body it is.

    `invalid_json` for what is no JSON (RFC 8259) in UTF-8 or is nested deeper than `DEPTH_MAX`; `invalid_request` for
    a field given twice, NUL characters, lone surrogates, and numbers beyond 64 bits or not finite.
    Costs a few microseconds for a small body; types and unknown fields are the business of the route's decoder.
    """
    text = _utf8(body)
    try:
        value = _value(text)
    except json.JSONDecodeError as error:
        raise ApiError("invalid_json", f"The body is not valid JSON: {error.msg}, at character {error.pos}.") from None
    except RecursionError:
        raise _too_deep() from None
    if b"\\u" in body or body.count(b"{") + body.count(b"[") > DEPTH_MAX:
        _walk(value)


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError("invalid_json", f"The body is not valid UTF-8 at byte {error.start}.") from None


def _too_deep() -> ApiError:
    return ApiError("invalid_json", f"The body is nested deeper than {DEPTH_MAX} levels.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ApiError("invalid_request", f"The field {_shown(twice)} is given twice.", param=_shown(twice))
    return found


def _integer(digits: str) -> int:
    if len(digits) <= _INTEGER_DIGITS_MAX:
        value = int(digits)
        if -INTEGER_MAX - 1 <= value <= INTEGER_MAX:
            return value
    raise ApiError("invalid_request", "A number of the body does not fit into 64 bits.")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ApiError("invalid_request", "A number of the body is too large.")
    return value


def _constant(name: str) -> NoReturn:
    raise ApiError("invalid_json", f"The body is not valid JSON: {name} is no number of JSON.")


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _value(text: str) -> Any:
    """The value, without two searches for white space around it, of which there hardly is any."""
    try:
        value, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def _walk(value: Any) -> None:
    """Looks at strings and depth; asked only where there are escapes or many brackets, else nothing can be wrong."""
    open_values: list[tuple[str, int, Any]] = [("", 0, value)]
    while open_values:
        place, depth, each = open_values.pop()
        if isinstance(each, str):
            check_text(each, place or None)
            continue
        if not isinstance(each, dict | list):
            continue
        if depth == DEPTH_MAX:
            raise _too_deep()
        if isinstance(each, list):
            open_values.extend((f"{place}[{index}]", depth + 1, inner) for index, inner in enumerate(each))
            continue
        for name, inner in each.items():
            check_text(name, place or None)
            open_values.append((f"{place}.{name}" if place else name, depth + 1, inner))


def check_text(text: str, param: str | None) -> None:
    """Refuses NUL, which Postgres cannot keep, and lone surrogates, which are no characters (Unicode 16, 3.9 D92)."""
    if "\x00" in text:
        raise ApiError("invalid_request", "A string holds a NUL character.", param=param)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ApiError("invalid_request", "A string holds a lone surrogate.", param=param and _shown(param))


def _shown(name: str) -> str:
    """A name of the client's, short and encodable."""
    return name.encode("utf-8", "replace").decode()[:64]
