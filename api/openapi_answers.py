"""Answers as the OpenAPI document describes them: their schema, and the example that `docs/api.md` shows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from api.answer import AcceptedBody
from api.route import Route, Stream

JSON = "application/json"
EXAMPLES_FILE = Path(__file__).with_name("answer_examples.json")
"""By `METHOD /path` and media type; `make openapi` writes it from the documentation, whose examples are run."""
Schema: TypeAlias = Callable[[type[Struct]], dict[str, Any]]

_ID = "cmd_AQAAAAAA0123456789abcdef0123456789abcdef"
ACCEPTED = AcceptedBody(command_id=_ID, status="pending", status_url=f"/commands/{_ID}")


class AnswerExamples:
    """What a route's answers can look like: its own example, or another route's of the same shape."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._shapes: dict[type[Struct], Any] = {AcceptedBody: msgspec.to_builtins(ACCEPTED)}
        for route in routes:
            own = _kept().get(_name(route), {})
            for shape in structs_of(route.answers[route.status]):
                if JSON in own:
                    self._shapes.setdefault(shape, own[JSON])

    def of(self, route: Route, media_type: str, shape: type[Struct] | None) -> Any:
        """An answer's body; None where nothing is known."""
        own = _kept().get(_name(route), {}).get(media_type)
        return self._shapes.get(shape) if own is None and shape is not None else own


def content_of(route: Route, status: int, schema: Schema, examples: AnswerExamples) -> dict[str, Any]:
    """The `content` of an answer: by media type its schema, and an example where it is a success."""
    content: dict[str, Any] = {}
    for media_type, shape in _media(route.answers[status]):
        content[media_type] = {"schema": {"type": "string"} if shape is None else schema(shape)}
        example = examples.of(route, media_type, shape) if 200 <= status < 300 else None  # noqa: PLR2004  # successes
        if example is not None:
            content[media_type]["example"] = example
    return content


def accepted_content(schema: Schema) -> dict[str, Any]:
    """That of 202, which every write can answer."""
    return {JSON: {"schema": schema(AcceptedBody), "example": msgspec.to_builtins(ACCEPTED)}}


def structs_of(answer: Any) -> Iterator[type[Struct]]:
    """The shapes of an answer, one for each media type that has one."""
    return (shape for _, shape in _media(answer) if shape is not None)


def _media(answer: Any) -> Iterator[tuple[str, type[Struct] | None]]:
    for each in answer if isinstance(answer, tuple) else (answer,):
        if isinstance(each, str):
            yield each, None
        elif isinstance(each, Stream):
            yield each.media_type, each.schema
        else:
            yield JSON, each


def _name(route: Route) -> str:
    return f"{route.method} {route.path.replace(':path', '')}"


@cache
def _kept() -> Mapping[str, Mapping[str, Any]]:
    kept: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(EXAMPLES_FILE.read_bytes())
    return kept
