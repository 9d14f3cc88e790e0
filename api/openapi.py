"""OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1) from the route table: nothing is described anywhere else."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from api.decode import PATH_VALUE_MAX
from api.errors import reason
from api.openapi_answers import AnswerExamples, accepted_content, content_of
from api.openapi_errors import ErrorBody, error_responses
from api.openapi_headers import ALWAYS, HEADERS, RATES, REQUEST_HEADERS, ROUTE_HEADERS
from api.openapi_schemas import Schemas
from api.process import VERSION
from api.route import Route

_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_ARTICLES = frozenset({"a", "an", "the"})
DESCRIPTION = """\
Accounts, API keys, credits, and an OpenAI-compatible gateway that meters what it passes on.

Amounts of credits are decimal strings with six places; one credit is one US dollar of list price. Times are RFC 3339
in UTC. Lists are paged with `limit` and `cursor`. Every write takes an `Idempotency-Key`: the same key and request
have one effect and one answer, for ever. Errors have one shape; their codes are stable.
"""
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a login token from `POST /auth/login`.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
TAGS = {
    "auth": "Registering and logging in.",
    "users": "The caller's own user.",
    "api keys": "Keys that speak for an account.",
    "organizations": "Accounts that several people share: members, their levels, invitations.",
    "projects": "What an account's work is sorted into, and what credentials can be bound to.",
    "billing": "Credits, holds, usage and plans.",
    "chat": "The OpenAI-compatible gateway.",
    "models": "The language models on offer.",
    "audit": "Who did what in an account, and what was refused.",
    "admin": "Everybody's accounts: found, suspended and resumed.",
    "operations": "What operators and their tools ask.",
}


def build_openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of these routes, as plain JSON values."""
    shown = [route for route in routes if not route.hidden]
    schemas, examples = Schemas(shown), AnswerExamples(shown)
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas, examples)
    used = {route.tag for route in shown}
    tags = [tag for tag in TAGS if tag in used] + sorted(used - set(TAGS))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Form-State",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": TAGS.get(tag, "")} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": SECURITY_SCHEMES,
            "headers": HEADERS,
        },
    }


def _operation(route: Route, schemas: Schemas, examples: AnswerExamples) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": "\n\n".join(filter(None, (route.description, _needs(route)))),
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas), *_header_parameters(route)],
        "responses": _responses(route, schemas, examples),
        "security": _security(route),
    }
    if route.body is not None:
        media: dict[str, Any] = {"schema": schemas.of(route.body)}
        if route.example is not None:
            media["example"] = dict(route.example)
        required = route.method != "DELETE" and not route.body_optional
        operation["requestBody"] = {"required": required, "content": {"application/json": media}}
    return {name: value for name, value in operation.items() if value not in ("", [])} | {
        "security": operation["security"]
    }


def operation_id(route: Route) -> str:
    """What generated clients call it, from its summary: `list_api_keys`. A released one stays: a test compares."""
    words = re.findall(r"[a-z0-9]+", route.summary.lower().replace("'s", ""))
    return "_".join(word for word in words if word not in _ARTICLES)


def _needs(route: Route) -> str:
    access = route.access
    parts = [f"the scope `{access.scope}`"] if access.scope else []
    parts += [f"the role `{access.role}`"] if access.role else []
    return f"Needs {' and '.join(parts)}." if parts else ""


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access.public:
        return []
    both: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
    return [{}, *both] if route.access.optional else both


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        parameter: dict[str, Any] = {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": PATH_VALUE_MAX, "pattern": "^[!-~]+$"},
        }
        if name in route.path_examples:
            parameter["example"] = route.path_examples[name]
        yield parameter


def _query_parameters(route: Route, schemas: Schemas) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    properties, required = schemas.fields(route.query)
    for name, schema in properties.items():
        plain = _queried(schema)
        description = plain.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in required, "schema": plain}
        if description:
            parameter["description"] = description
        yield parameter


def _queried(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query string has no null: what may be null is simply left out."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    if rest.get("default", 0) is None:
        del rest["default"]
    if len(choices) == 1:
        return dict(choices[0]) | rest
    return rest | ({"anyOf": choices} if choices else {})


def _header_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in route.request_headers:
        yield {"name": name, "in": "header", "required": True} | ROUTE_HEADERS[name].described()
    for name, header in REQUEST_HEADERS.items():
        told = route.write or not header.writes_only
        if told and not (header.private_only and route.access.public):
            yield {"name": name, "in": "header", "required": False} | header.described()


def _responses(route: Route, schemas: Schemas, examples: AnswerExamples) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in route.answers:
        own = route.response_headers if status < 300 else ()  # noqa: PLR2004  # successes
        headers = dict.fromkeys((*ALWAYS, *RATES, *own))
        responses[str(status)] = {
            "description": reason(status),
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
            "content": content_of(route, status, schemas.of, examples),
        }
    if route.write:
        responses.setdefault("202", _accepted(schemas))
    for refused, response in error_responses(route, schemas.of(ErrorBody)).items():
        responses.setdefault(refused, response)
    return dict(sorted(responses.items()))


def _accepted(schemas: Schemas) -> dict[str, Any]:
    headers = (*ALWAYS, *RATES, "Location", "Retry-After", "Preference-Applied")
    return {
        "description": "The command is on its way: ask `status_url` for its outcome.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": accepted_content(schemas.of),
    }
