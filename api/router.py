"""Finds the route of a method and path: one dictionary for paths without parameters, few steps for the others."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

NO_PARAMETERS: Mapping[str, str] = {}


class _Node(Generic[T]):
    __slots__ = ("by_method", "children", "names", "parameter", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.rest: _Node[T] | None = None
        """A parameter that takes everything up to the end, slashes too."""
        self.by_method: dict[str, tuple[T, tuple[str, ...]]] = {}


class Match(Generic[T]):
    """What was found: routes of the path by method, with the values of their parameters."""

    __slots__ = ("_by_method", "_values")

    def __init__(self, by_method: dict[str, tuple[T, tuple[str, ...]]], values: tuple[str, ...]) -> None:
        self._by_method = by_method
        self._values = values

    def of(self, method: str) -> tuple[T, Mapping[str, str]] | None:
        """The target for the method, and its parameters by name."""
        found = self._by_method.get(method)
        if found is None:
            return None
        target, names = found
        return target, dict(zip(names, self._values, strict=True)) if names else NO_PARAMETERS

    @property
    def methods(self) -> list[str]:
        """The methods that the path has."""
        return sorted(self._by_method)


class Router(Generic[T]):
    """Targets by method and path; literal segments win over parameters, parameters over `{name:path}`."""

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        self._root: _Node[T] = _Node()
        self._literal: dict[str, _Node[T]] = {}
        for method, path, target in routes:
            self._add(method, path, target)

    def _add(self, method: str, path: str, target: T) -> None:
        node = self._root
        names: list[str] = []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                name, _, kind = segment.strip("{}").partition(":")
                names.append(name)
                if kind == "path":
                    node.rest = node = node.rest or _Node()
                else:
                    node.parameter = node = node.parameter or _Node()
            else:
                node = node.children.setdefault(segment, _Node())
        if method in node.by_method:
            raise RuntimeError(f"two routes answer {method} {path}")
        node.by_method[method] = (target, tuple(names))
        if not names:
            self._literal[path] = node

    def find(self, path: str) -> Match[T] | None:
        """The routes of a path, or `None` where there is nothing."""
        literal = self._literal.get(path)
        if literal is not None:
            return Match(literal.by_method, ())
        if not path.startswith("/"):
            return None
        return self._walk(self._root, path[1:].split("/"), ())

    def _walk(self, node: _Node[T], segments: list[str], values: tuple[str, ...]) -> Match[T] | None:
        if not segments:
            return Match(node.by_method, values) if node.by_method else None
        head, tail = segments[0], segments[1:]
        child = node.children.get(head)
        found = self._walk(child, tail, values) if child is not None else None
        if found is None and node.parameter is not None and head:
            found = self._walk(node.parameter, tail, (*values, head))
        if found is None and node.rest is not None and head:
            found = Match(node.rest.by_method, (*values, "/".join(segments)))
        return found
