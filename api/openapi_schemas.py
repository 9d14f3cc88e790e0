"""JSON Schema (draft 2020-12) of every struct that a route mentions, made so that generated clients read well.

What msgspec says is kept, and three things are said more exactly: a word out of one is a constant, a time is one, and
an enumeration that several structs share has one name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from msgspec import Struct

from api.answer import AcceptedBody
from api.api_key_shown import Status as ApiKeyStatus
from api.openapi_answers import structs_of
from api.openapi_errors import ErrorBody
from api.route import Route
from api.scopes import INCLUDED
from domain.account.api_keys import KeyMode
from domain.account.subscription import SubscriptionStatus
from domain.member import Level
from domain.project import ProjectStatus
from domain.user import Role

REFERENCE = "#/components/schemas/{name}"
_SHARED: Mapping[frozenset[str], str] = {
    frozenset(INCLUDED): "Scope",
    frozenset(get_args(Role)): "Role",
    frozenset(get_args(Level)): "Level",
    frozenset(get_args(KeyMode)): "ApiKeyMode",
    frozenset(get_args(ApiKeyStatus)): "ApiKeyStatus",
    frozenset(get_args(ProjectStatus)): "ProjectStatus",
    frozenset(get_args(SubscriptionStatus)): "SubscriptionStatus",
}
"""Names of enumerations, by their words."""
_TIMES = frozenset({"at", "from", "to", "period_start", "period_end", "grace_until"})
"""Fields that hold a time; so do those that end in `_at`."""


class Schemas:
    """The components of these routes' bodies and answers, the references to them, and the fields of queries."""

    def __init__(self, routes: Iterable[Route]) -> None:
        named: dict[type[Struct], None] = {AcceptedBody: None, ErrorBody: None}
        queries: dict[type[Struct], None] = {}
        for route in routes:
            named |= dict.fromkeys(_structs(route))
            queries |= {} if route.query is None else {route.query: None}
        references, found = msgspec.json.schema_components(tuple(named), ref_template=REFERENCE)
        shared: dict[str, Any] = {}
        refined = {name: _refined(schema, shared) for name, schema in found.items()}
        self.components: dict[str, Any] = dict(sorted((refined | shared).items()))
        self._references: dict[type[Struct], dict[str, Any]] = dict(zip(named, references, strict=True))
        self._queries = {query: _refined(_schema(query), None) for query in queries}

    def of(self, struct: type[Struct]) -> dict[str, Any]:
        """The reference to a struct's schema."""
        return self._references[struct]

    def fields(self, query: type[Struct]) -> tuple[dict[str, Any], list[str]]:
        """What a query has, and what of it is required."""
        schema = self._queries[query]
        return schema.get("properties", {}), schema.get("required", [])


def _schema(query: type[Struct]) -> dict[str, Any]:
    """Of queries only the fields are shown, as parameters; so they are no components."""
    (reference,), found = msgspec.json.schema_components((query,), ref_template=REFERENCE)
    schema: dict[str, Any] = found[reference["$ref"].rpartition("/")[2]]
    return schema


def _refined(schema: Any, shared: dict[str, Any] | None) -> Any:
    """The schema, said more exactly. `shared` collects the enumerations that get a name; None names none."""
    if isinstance(schema, list):
        return [_refined(each, shared) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("enum"), list):
        return _enumeration(schema, shared)
    refined = {name: _refined(each, shared) for name, each in schema.items()}
    for name, field in refined.get("properties", {}).items():
        if name in _TIMES or name.endswith("_at"):
            _tell_time(field)
    return refined


def _enumeration(schema: dict[str, Any], shared: dict[str, Any] | None) -> dict[str, Any]:
    words = schema["enum"]
    rest = {name: value for name, value in schema.items() if name not in ("enum", "type")}
    if words == [True]:
        return {"type": "boolean"} | rest  # generators stumble over constants that are no text
    if len(words) == 1:
        return {"const": words[0]} | rest
    name = _SHARED.get(frozenset(map(str, words)))
    if name is None or shared is None:
        return schema
    shared[name] = {"title": name, "type": "string", "enum": words}
    return {"$ref": REFERENCE.format(name=name)} | rest


def _structs(route: Route) -> Iterable[type[Struct]]:
    if route.body is not None:
        yield route.body
    for answer in route.answers.values():
        yield from structs_of(answer)


def _tell_time(field: dict[str, Any]) -> None:
    for each in field.get("anyOf", (field,)):
        if each.get("type") == "string":
            each.setdefault("format", "date-time")
