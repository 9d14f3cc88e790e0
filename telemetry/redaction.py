"""Keeps secrets and personal data out of log lines: by the name of a field, and by the look of a value."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

REDACTED = "[redacted]"

_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:password|passwd|secret|token|authorization|api_key|apikey|credential|cookie|email|display_name|"
    r"plaintext|pepper|private_key)s?(?:$|_(?!(?:ids?|s|seconds|count|total|max|prefix|name)$))",
    re.IGNORECASE,
)
"""Names of fields whose values are never written; `api_key_id` and `token_count` are no secrets."""

_LOOKS_SECRET = re.compile(
    r"""
    [A-Za-z][A-Za-z0-9]{0,15}_(?:live|test)_[A-Za-z0-9_]{16,}        # our API keys, whatever their brand
    | sk-[A-Za-z0-9_-]{16,}                                          # provider keys
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}     # JSON web tokens
    | (?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}
    | [^\s@"'<>:;,()\[\]]{1,64}@[^\s@"'<>:;,()\[\]]{1,190}\.[^\s@"'<>:;,()\[\]]{2,63}   # email addresses
    | (?<=://)[^\s/@:]{1,64}:[^\s/@]{1,128}(?=@)                     # credentials in URLs
    """,
    re.VERBOSE,
)
_MARKS = re.compile(r"@|_live_|_test_|sk-|eyJ|(?i:bearer|basic)")
"""A value without any of these is not searched: nearly all are not."""

_DEPTH_MAX = 6


def redact_text(text: str) -> str:
    """The text with everything that looks like a secret or an email address replaced."""
    return text if _MARKS.search(text) is None else _LOOKS_SECRET.sub(REDACTED, text)


def _redact(value: Any, depth: int) -> Any:
    match value:
        case str():
            return redact_text(value)
        case bool() | int() | float() | None:
            return value
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case Mapping() if depth < _DEPTH_MAX:
            return {
                str(name): REDACTED
                if _SECRET_NAMES.search(str(name)) and each is not None
                else _redact(each, depth + 1)
                for name, each in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth < _DEPTH_MAX:
            return [_redact(each, depth + 1) for each in value]
        case _:
            return redact_text(str(value))


_known_names: dict[str, bool] = {}


def _is_secret(name: str) -> bool:
    """Remembers the answer: the names in log lines are few, and written out in the code."""
    known = _known_names.get(name)
    if known is None:
        known = bool(_SECRET_NAMES.search(name))
        if len(_known_names) < 1_000:  # noqa: PLR2004  # a bound, should names ever come from outside
            _known_names[name] = known
    return known


def redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor; the last one before rendering."""
    for name, value in event.items():
        kind = type(value)
        if kind is int or kind is float or kind is bool or value is None:
            continue
        event[name] = REDACTED if _is_secret(name) else redact_text(value) if kind is str else _redact(value, 0)
    return event
