"""The smallest value that satisfies a JSON schema (the part of it that OpenAI's structured outputs allow).

Not read: `pattern`, `not`, `if`, `contains`, `uniqueItems`, `dependentRequired`.
"""

import math
from typing import Any

import msgspec

from devnet.provider.errors import ProviderError

DEPTH_MAX = 32
SIZE_MAX = 20_000
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


def minimal_json(schema: Any) -> str:
    """A value for `schema`, as JSON; raises a 400 for a schema that is none, or asks for too much."""
    if schema is not True and not isinstance(schema, dict):
        raise _invalid("it is neither an object nor true")
    try:
        return msgspec.json.encode(_Maker(schema).value(schema, 0)).decode()
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as broken:
        raise _invalid(str(broken)) from broken


def _invalid(reason: str) -> ProviderError:
    return ProviderError(400, "invalid_json_schema", f"Invalid schema: {reason}.")


class _Maker:
    """Makes a value of one schema. Its size is bounded: schemas can ask for exponentially much."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = SIZE_MAX

    def value(self, schema: Any, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise _invalid(f"it needs more than {DEPTH_MAX} levels")
        self._take(1)
        if schema is True or not schema:
            return {} if depth == 0 else None
        if "$ref" in schema:
            return self.value(_resolved(schema["$ref"], self._root), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self.value({**_without(schema, choice), **schema[choice][0]}, depth + 1)
        if "allOf" in schema:
            return self.value(_merged(schema, self._root), depth + 1)
        return self._of_type(schema, depth)

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _invalid(f"it needs a value larger than {SIZE_MAX}")

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        match _kind(schema):
            case "object":
                properties = schema.get("properties", {})
                names = schema.get("required", ())
                return {name: self.value(properties.get(name, True), depth + 1) for name in names}
            case "array":
                first = schema.get("prefixItems", [])
                rest = max(int(schema.get("minItems", 0)) - len(first), 0)
                self._take(rest)
                items = [*first, *[schema.get("items", True)] * rest]
                return [self.value(item, depth + 1) for item in items]
            case "string":
                size = int(schema.get("minLength", 0))
                self._take(size)
                return FORMATS.get(schema.get("format", ""), "").ljust(size, "x")
            case "integer":
                return int(_bounded(schema, 1))
            case "number":
                return _bounded(schema, 0.5)
            case "boolean":
                return False
            case "null":
                return None
            case other:
                raise _invalid(f"unknown type {other!r}")


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
