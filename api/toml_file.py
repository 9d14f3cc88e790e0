"""Reads operators' TOML files into structs; what is wrong is told with file, line and key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)


class BadFile(Exception):
    """An operator's file cannot be used; the text names it, the place, and what is expected."""


class TomlFile:
    """One file of named tables, such as `[plans.free]`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8")
            self._content = tomllib.loads(self._text)
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
        except tomllib.TOMLDecodeError as error:
            raise BadFile(f"{path}: {error}") from error

    def tables(self, kind: str, shape: type[T]) -> dict[str, T]:
        """All tables `[kind.name]` by name, in the file's order. There must be one, and nothing else in the file."""
        for name in self._content:
            if name != kind:
                raise self.wrong((name,), f"unknown; the file has tables [{kind}.…] only")
        found = self._content.get(kind)
        if not isinstance(found, Mapping) or not found:
            raise BadFile(f"{self.path}: there is no table [{kind}.…]")
        return {name: self._converted((kind, name), table, shape) for name, table in found.items()}

    def wrong(self, keys: tuple[str, ...], expected: str) -> BadFile:
        """The error that names the line of the last key, as far as it can be found."""
        line = self._line(keys)
        place = f"{self.path}:{line}" if line else str(self.path)
        return BadFile(f"{place}: {'.'.join(keys)}: {expected}")

    def _converted(self, keys: tuple[str, ...], table: Any, shape: type[T]) -> T:
        try:
            return msgspec.convert(table, shape)
        except msgspec.ValidationError as error:
            expected, _, where = str(error).partition(" - at `$")
            inner = tuple(part.partition("[")[0] for part in where.rstrip("`").split(".") if part)
            raise self.wrong((*keys, *inner), expected) from error

    def _line(self, keys: tuple[str, ...]) -> int | None:
        """Of the key behind its table's header; of the header if the key is not written there."""
        headers = {f"[{'.'.join(names)}]" for names in _written(keys[:2])} | {
            f"[[{'.'.join(names)}]]" for names in _written(keys)
        }
        at: int | None = None
        for number, line in enumerate(self._text.splitlines(), 1):
            text = line.partition("#")[0].strip()
            if text.startswith("["):
                if at is not None:
                    return at
                if text in headers:
                    at = number
            elif at is not None and len(keys) > 2 and text.partition("=")[0].strip() == keys[2]:  # noqa: PLR2004 - kind, name, key
                return number
        return at


def _written(keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The ways in which a header can be written: bare, or its last name in quotes."""
    *first, last = keys
    return [keys, (*first, f'"{last}"'), (*first, f"'{last}'")]
