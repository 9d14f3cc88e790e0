"""Reads operators' TOML files into structs; what is wrong is told with file, line and key."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)

_HEADER = re.compile(r"\[\[?([^\[\]]+)\]\]?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_NAME = re.compile(r""" "([^"]*)" | '([^']*)' | ([A-Za-z0-9_-]+) """, re.VERBOSE)


class BadFile(Exception):
    """An operator's file cannot be used; the text names it, the place, and what is expected."""


class TomlFile:
    """One file of named tables, such as `[plans.free]`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8-sig")
            self._content = tomllib.loads(self._text)
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
        except tomllib.TOMLDecodeError as error:
            raise BadFile(f"{path}: {error}") from error
        except RecursionError as error:
            raise BadFile(f"{path}: too many brackets within brackets") from error

    def tables(self, kind: str, shape: type[T], *, beside: tuple[str, ...] = ()) -> dict[str, T]:
        """All tables `[kind.name]` by name, in the file's order. There must be one.

        There may be tables of the kinds `beside`, and nothing else in the file.
        """
        kinds = (kind, *beside)
        for name in self._content:
            if name not in kinds:
                raise self.wrong((name,), f"unknown; the file has tables {', '.join(f'[{k}.…]' for k in kinds)} only")
        if not self._content.get(kind):
            raise BadFile(f"{self.path}: there is no table [{kind}.…]")
        return self.tables_if_any(kind, shape)

    def tables_if_any(self, kind: str, shape: type[T]) -> dict[str, T]:
        """The same for a kind that a file may leave out."""
        found = self._content.get(kind, {})
        if not isinstance(found, Mapping):
            raise self.wrong((kind,), f"expected tables [{kind}.…]")
        return {name: self.converted((kind, name), table, shape) for name, table in found.items()}

    def wrong(self, keys: tuple[str, ...], expected: str) -> BadFile:
        """The error that names the line of the last key, as far as it can be found."""
        line = self._line(keys)
        place = f"{self.path}:{line}" if line else str(self.path)
        return BadFile(f"{place}: {'.'.join(keys)}: {expected}")

    def converted(self, keys: tuple[str, ...], table: Any, shape: type[T]) -> T:
        """What is written at `keys`, as a struct."""
        try:
            return msgspec.convert(table, shape)
        except msgspec.ValidationError as error:
            expected, _, where = str(error).partition(" - at `$")
            inner = tuple(part for part in re.sub(r"\[[^\]]*\]", "", where.rstrip("`")).split(".") if part)
            unknown = _UNKNOWN.fullmatch(expected)
            if unknown is not None:
                known = "" if inner else f"; there are {', '.join(sorted(shape.__struct_fields__))}"
                raise self.wrong((*keys, *inner, unknown[1]), f"unknown{known}") from error
            quoted = expected.startswith(("Expected `str`, got `int`", "Expected `str`, got `float`"))
            raise self.wrong((*keys, *inner), f"{expected}; write it in quotes" if quoted else expected) from error

    def _line(self, keys: tuple[str, ...]) -> int | None:
        """Of the key, in the table that is nearest to it; of that table's header if the key is not written there."""
        headers = {_names(line): number for number, line in reversed([*enumerate(self._text.splitlines(), 1)])}
        for depth in range(len(keys), 0, -1):
            if keys[:depth] in headers:
                at = headers[keys[:depth]]
                return (self._line_behind(at, keys[depth:]) if depth < len(keys) else None) or at
        inner = [number for names, number in headers.items() if names[: len(keys)] == keys]
        return min(inner, default=None) or self._line_behind(0, keys)

    def _line_behind(self, header: int, keys: tuple[str, ...]) -> int | None:
        """Of the key in the table below that header; its name may be written with dots, or the rest in braces."""
        found: dict[int, int] = {}
        for number, line in enumerate(self._text.splitlines()[header:], header + 1):
            text = line.strip()
            if text.startswith("["):
                break
            name, equals, _ = text.partition("=")
            names = _split(name) if equals else ()
            if names and (names == keys[: len(names)] or names[: len(keys)] == keys):
                found.setdefault(min(len(names), len(keys)), number)
        return found[max(found)] if found else None


def _names(line: str) -> tuple[str, ...]:
    """The names in a table's header, bare or in quotes; none for any other line."""
    header = _HEADER.fullmatch(line.partition("#")[0].strip())
    return _split(header[1]) if header else ()


def _split(dotted: str) -> tuple[str, ...]:
    return tuple("".join(names) for names in _NAME.findall(dotted))
