"""Where golden files lie, and made-up values for those that are still missing."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from domain.registry import command_types, event_types

FOLDER = Path(__file__).parent
EVENTS = FOLDER / "events"
COMMANDS = FOLDER / "commands"


def event_files() -> list[Path]:
    """One for each event type and each version that it ever had."""
    return [
        EVENTS / f"{tag}.v{version}.json"
        for tag, event in sorted(event_types().items())
        for version in range(1, event.schema_version + 1)
    ]


def command_files() -> list[Path]:
    """One for each command."""
    return [COMMANDS / f"{tag}.json" for tag in sorted(command_types())]


def write_missing() -> list[Path]:
    """Writes a file for each type that has none in its present version; answers which."""
    written = []
    for path in event_files() + command_files():
        if not path.exists():
            tag = path.stem.rpartition(".v")[0] if path.parent == EVENTS else path.stem
            kind = event_types()[tag] if path.parent == EVENTS else command_types()[tag]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(made_up(kind)), indent=2) + b"\n")
            written.append(path)
    return written


def made_up(kind: type[Struct]) -> Struct:
    """A struct with a value for every field, optional ones too, so that each field's name and type are pinned."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(name, hints[name]) for name in kind.__struct_fields__})


def _value(name: str, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return _value(name, next(each for each in arguments if each is not type(None)))
    if origin is Mapping:
        return {"some key": _value(name, arguments[1])}
    if origin is tuple:
        return (_value(name, arguments[0]),)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return made_up(hint)
    return {str: f"some {name}", int: 1_800_000_000_000_000 if name.endswith("_at") else 7, bool: True}[hint]
