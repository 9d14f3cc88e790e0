"""Holds what an example printed against what its document shows.

`…` stands for any text; as a line of its own, for any lines; as a list's last element, for any more. Times and dates
differ from run to run: any will do. So do ids, of which a document shows four characters (`user_9af1…`), and a few
numbers, by the names of their fields.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

MORE = "…"
ANY_NUMBER = (
    *("created", "uptime_s", "latency_ms_mean", "remaining.requests_per_minute"),
    *("latency_ms.p50", "latency_ms.p95", "latency_ms.p99"),
    *("latency_ms", "shard", "sequence", "version"),
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ID = re.compile(r"(?<=[_-])[0-9A-Za-z]{4,8}…(?:[0-9A-Za-z]{4}\b)?")
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")


def differences(language: str, shown: str, printed: str) -> list[str]:
    """What is wrong, one line each; nothing when the document tells the truth. `language` is `json` or `text`."""
    if language == "text":
        return _of_lines(shown.strip().splitlines(), printed.strip().splitlines())
    try:
        actual = json.loads(printed)
    except ValueError:
        return [f"printed no JSON: {printed!r}"]
    return _of_values("", json.loads(shown), actual)


def _of_values(place: str, shown: Any, actual: Any) -> list[str]:
    match shown, actual:
        case dict(), dict():
            return _of_objects(place, shown, actual)
        case list(), list():
            return _of_lists(place, shown, actual)
        case str(), str() if matches(shown, actual):
            return []
        case int(), int() if place.endswith(tuple(f".{name}" for name in ANY_NUMBER)):
            return []
    same = type(shown) is type(actual) and shown == actual
    return [] if same else [f"{place or 'all of it'}: shown {shown!r}, printed {actual!r}"]


def _of_objects(place: str, shown: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    found = [f"{place}.{name}: not printed" for name in shown if name not in actual]
    found += [f"{place}.{name}: printed ({actual[name]!r}), not shown" for name in actual if name not in shown]
    for name, value in shown.items():
        if name in actual:
            found += _of_values(f"{place}.{name}", value, actual[name])
    return found


def _of_lists(place: str, shown: list[Any], actual: list[Any]) -> list[str]:
    whole = not shown or shown[-1] != MORE
    expected = shown if whole else shown[:-1]
    if len(actual) < len(expected) or (whole and len(actual) > len(expected)):
        return [f"{place}: shown {len(expected)} elements, printed {len(actual)}: {actual!r}"]
    pairs = zip(expected, actual, strict=False)
    return [each for number, (a, b) in enumerate(pairs) for each in _of_values(f"{place}[{number}]", a, b)]


def _of_lines(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Lines in order; a line `…` skips to the next line that is shown and not empty."""
    position, skipping = 0, False
    for line in shown:
        if line.strip() == MORE:
            skipping = True
            continue
        if skipping and not line.strip():
            continue
        found = range(position, len(printed) if skipping else min(position + 1, len(printed)))
        at = next((each for each in found if matches(line.rstrip(), printed[each].rstrip())), None)
        if at is None:
            there = printed[position] if position < len(printed) else "nothing more"
            return [f"shown {line!r}, printed {there!r}"]
        position, skipping = at + 1, False
    if position < len(printed) and not skipping:
        return [f"printed and not shown: {printed[position]!r}"]
    return []


def matches(shown: str, actual: str) -> bool:
    """Whether a text is as shown, but for times and what `…` leaves out."""
    pattern = ".*".join(re.escape(part) for part in _timeless(_ID.sub(MORE, shown)).split(MORE))
    return re.fullmatch(pattern, _timeless(actual), re.DOTALL) is not None


def _timeless(text: str) -> str:
    return _DATE.sub("DATE", _TIME.sub("TIME", text))
