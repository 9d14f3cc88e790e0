"""Stripe's request bodies and queries: form fields whose names spell nested objects and lists."""

import re
from typing import Any
from urllib.parse import parse_qsl

_PARTS = re.compile(r"[^\[\]]+")


def parse(text: str) -> dict[str, Any]:
    """`{"items": [{"price": "p"}]}` of `items[0][price]=p`. Numbers stay texts."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        here = found
        *path, last = _PARTS.findall(name)
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    nested: dict[str, Any] = _lists(found)
    return nested


def _lists(value: Any) -> Any:
    """Objects whose names are all numbers are lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(each) for name, each in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
