"""What a client of the released API would break on: the released OpenAPI document against today's."""

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")


def breaking_changes(released: Document, current: Document) -> list[str]:
    """One line for each thing that a client relies on and that is gone, or is asked of it that was not before."""
    return [change for path, item in released["paths"].items() for change in _path(path, item, released, current)]


def _path(path: str, item: Document, released: Document, current: Document) -> Iterator[str]:
    for method in METHODS:
        if method not in item:
            continue
        name = f"{method.upper()} {path}"
        now = current["paths"].get(path, {}).get(method)
        if now is None:
            yield f"{name} is gone"
            continue
        if now["operationId"] != item[method]["operationId"]:
            yield f"{name}: the operation is called {now['operationId']}, was {item[method]['operationId']}"
        yield from _parameters(name, item[method], now)
        yield from _body(name, item[method], now, released, current)
        yield from _answers(name, item[method], now, released, current)


def _parameters(name: str, before: Document, now: Document) -> Iterator[str]:
    known = {(each["in"], each["name"]): each for each in before.get("parameters", [])}
    today = {(each["in"], each["name"]): each for each in now.get("parameters", [])}
    for place in known.keys() - today.keys():
        yield f"{name}: the parameter {place[1]} is gone"
    for place, parameter in today.items():
        if parameter.get("required") and not known.get(place, {}).get("required"):
            yield f"{name}: the parameter {place[1]} is required now"


def _body(name: str, before: Document, now: Document, released: Document, current: Document) -> Iterator[str]:
    old, new = (_schema(each.get("requestBody", {})) for each in (before, now))
    if new is not None:
        yield from _narrowed(f"{name} body", _at(old or {}, released), _at(new, current), released, current, asked=True)


def _answers(name: str, before: Document, now: Document, released: Document, current: Document) -> Iterator[str]:
    for status, answer in before["responses"].items():
        if not status.startswith("2"):
            continue
        if status not in now["responses"]:
            yield f"{name}: the answer {status} is gone"
            continue
        old, new = _schema(answer), _schema(now["responses"][status])
        if old is not None:
            place = f"{name} answer {status}"
            yield from _narrowed(place, _at(old, released), _at(new or {}, current), released, current, asked=False)


def _schema(holder: Document) -> Document | None:
    content = holder.get("content", {}).get("application/json")
    return None if content is None else content.get("schema", {})


def _at(schema: Document, document: Document) -> Document:
    """The schema itself, where it is a reference."""
    while "$ref" in schema:
        found: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def _narrowed(
    place: str, old: Document, new: Document, released: Document, current: Document, *, asked: bool
) -> Iterator[str]:
    """`asked`: of a request, where requirements may not grow; else of an answer, where promises may not shrink."""
    if old.get("type") != new.get("type") and old:
        yield f"{place}: was {old.get('type')}, is {new.get('type')}"
        return
    before, now = old.get("properties", {}), new.get("properties", {})
    for gone in sorted(before.keys() - now.keys()):
        yield f"{place}: {gone} is gone"
    must_before, must_now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(must_now - must_before if asked else (must_before - must_now) & now.keys()):
        yield f"{place}: {name} is {'required' if asked else 'optional'} now"
    for name in before.keys() & now.keys():
        inner = (_at(before[name], released), _at(now[name], current))
        yield from _narrowed(f"{place}.{name}", *inner, released, current, asked=asked)
    if "items" in old and "items" in new:
        inner = (_at(old["items"], released), _at(new["items"], current))
        yield from _narrowed(f"{place}[]", *inner, released, current, asked=asked)
