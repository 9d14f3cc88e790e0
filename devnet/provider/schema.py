"""The smallest value that satisfies a JSON schema (the part of it that OpenAI's structured outputs allow).

Not read: `pattern`, `not`, `if`, `contains`, `uniqueItems`, `dependentRequired`.
"""

import math
from collections.abc import Callable
from typing import Any

from devnet.provider.errors import ProviderError

DEPTH_MAX = 32
SIZE_MAX = 10_000
FORMATS = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def minimal(schema: Any) -> Any:
    """A value for `schema`; raises a 400 for a schema that is none, or that recurs without end."""
    if schema is not True and not isinstance(schema, dict):
        raise _invalid("it is neither an object nor true")
    try:
        return _value(schema, schema, 0)
    except (TypeError, ValueError, KeyError, AttributeError) as broken:
        raise _invalid(str(broken)) from broken


def _invalid(reason: str) -> ProviderError:
    return ProviderError(400, "invalid_json_schema", f"Invalid schema: {reason}.")


def _value(schema: Any, root: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _invalid(f"it needs more than {DEPTH_MAX} levels")
    if schema is True or not schema:
        return {} if depth == 0 else None
    if "$ref" in schema:
        return _value(_resolved(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _value({**_without(schema, choice), **schema[choice][0]}, root, depth + 1)
    if "allOf" in schema:
        return _value(_merged(schema, root), root, depth + 1)
    return _OF_TYPE[_kind(schema)](schema, root, depth)


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind is None:
        kind = "array" if "items" in schema else "object"
    return str(kind)


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _resolved(ref: str, root: Any) -> Any:
    """The schema that a `#/…` pointer names (RFC 6901)."""
    found = root
    for part in ref.removeprefix("#").split("/")[1:]:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = _without(schema, "allOf")
    properties: dict[str, Any] = dict(merged.get("properties", {}))
    required: list[str] = list(merged.get("required", []))
    for part in schema["allOf"]:
        whole = _resolved(part["$ref"], root) if "$ref" in part else part
        properties |= whole.get("properties", {})
        required += whole.get("required", [])
        merged |= whole
    return {**merged, "properties": properties, "required": list(dict.fromkeys(required))}


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _value(properties.get(name, True), root, depth + 1) for name in schema.get("required", ())}


def _array(schema: dict[str, Any], root: Any, depth: int) -> list[Any]:
    first = schema.get("prefixItems", [])
    length = max(len(first), min(int(schema.get("minItems", 0)), SIZE_MAX))
    items = schema.get("items", True)
    rest = [_value(items, root, depth + 1)] * (length - len(first))
    return [_value(item, root, depth + 1) for item in first] + rest


def _string(schema: dict[str, Any], _root: Any, _depth: int) -> str:
    text = FORMATS.get(schema.get("format", ""), "")
    return text.ljust(min(int(schema.get("minLength", 0)), SIZE_MAX), "x")


def _integer(schema: dict[str, Any], _root: Any, _depth: int) -> int:
    return int(_bounded(schema, 1))


def _number(schema: dict[str, Any], _root: Any, _depth: int) -> float:
    return _bounded(schema, 0.5)


def _bounded(schema: dict[str, Any], step: float) -> float:
    """The number nearest to 0 within the bounds, a multiple if asked."""
    step = schema.get("multipleOf", step)
    low: float = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high: float = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low <= 0 <= high and 0 not in {schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")}:
        return 0
    if low >= 0:
        number: float = math.ceil(low / step) * step
        return number + step if number == schema.get("exclusiveMinimum") else number
    number = math.floor(high / step) * step
    return number - step if number == schema.get("exclusiveMaximum") else number


_OF_TYPE: dict[str, Callable[[dict[str, Any], Any, int], Any]] = {
    "array": _array,
    "boolean": lambda *_: False,
    "integer": _integer,
    "null": lambda *_: None,
    "number": _number,
    "object": _object,
    "string": _string,
}
