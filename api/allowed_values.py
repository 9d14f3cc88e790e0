"""Which values a field may have, for the refusal of another: msgspec names the one that came and not those it takes."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

SHOWN_MAX = 30
_STEP = re.compile(r"\.([^.\[\]]+)|\[[^\]]*\]")


def allowed_values(shape: type, place: str, *, of_keys: bool = False) -> list[str]:
    """The values as JSON writes them, those of a `place` such as `.items[0].kind` in it; empty where any may stand.

    `of_keys` asks for the names that the object there may have.
    """
    found = [inspect.type_info(shape)]
    for step in _STEP.finditer(place):
        found = [inner for each in found for inner in _inside(each, step[1])]
    if of_keys:
        found = [each.key_type for outer in found for each in _plain(outer) if isinstance(each, inspect.DictType)]
    values = [value for outer in found for each in _plain(outer) for value in _values(each)]
    return values[:SHOWN_MAX]


def _inside(outer: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """The type of a field by that name, or of the items."""
    for each in _plain(outer):
        if isinstance(each, inspect.StructType):
            yield from (field.type for field in each.fields if field.encode_name == name)
        elif isinstance(each, inspect.DictType):
            yield each.value_type
        elif isinstance(each, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
            yield each.item_type


def _plain(outer: inspect.Type) -> Iterator[inspect.Type]:
    """The type, or each of those that it joins."""
    if isinstance(outer, inspect.Metadata):
        yield from _plain(outer.type)
    elif isinstance(outer, inspect.UnionType):
        for each in outer.types:
            yield from _plain(each)
    else:
        yield outer


def _values(plain: Any) -> Iterator[str]:
    if isinstance(plain, inspect.LiteralType):
        yield from (repr(value) for value in plain.values)
    elif isinstance(plain, inspect.EnumType):
        yield from (repr(each.value) for each in plain.cls)
