"""How errors appear in the OpenAPI document: one schema, and by status the codes that a route can answer."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.errors import CODES, KINDS, reason
from api.openapi_headers import ALWAYS, RATES
from api.route import Route


class ErrorDetail(Struct, frozen=True, kw_only=True):
    """What went wrong. Some codes add fields of their own, such as `required` and `available`."""

    code: Annotated[str, Meta(description="Stable; see the list of codes.")]
    type: Annotated[str, Meta(description="OpenAI's word for the kind of error.")]
    message: Annotated[str, Meta(description="For people; may change.")]
    param: Annotated[str | None, Meta(description="The field, parameter or header that is wrong.")]
    request_id: Annotated[str, Meta(description="Also in the header X-Request-Id.")]


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The one shape of every error."""

    error: ErrorDetail


_EVERYWHERE = ("internal_error", "overloaded", "headers_too_large", "invalid_http", "headers_timeout")
_SERVICES = ("starting", "store_unavailable")
_PRIVATE = (
    "missing_credentials",
    "invalid_api_key",
    "invalid_token",
    "conflicting_credentials",
    "auth_unavailable",
    "organization_not_found",
    "key_bound",
    "project_bound",
)
_WITH_BODY = (
    "invalid_json",
    "invalid_request",
    "body_too_large",
    "body_timeout",
    "unsupported_media_type",
)
_WRITES = (
    "invalid_header",
    "idempotency_key_reused",
    "command_too_large",
    "bus_unavailable",
    "outcome_unknown",
    "deadline_passed",
    "command_failed",
    "command_quarantined",
)


def codes_of(route: Route) -> list[str]:
    """Every code that the route can answer: its own, and those of the endpoint."""
    codes = [*route.errors, *_EVERYWHERE]
    if not route.early:
        codes += _SERVICES
    if not route.unlimited:
        codes.append("rate_limited")
    if not route.access.public:
        codes += _PRIVATE
    if route.access.optional:
        codes.remove("missing_credentials")
    codes += _lacking(route)
    if route.body is not None:
        codes += _WITH_BODY
    if route.query is not None or "{" in route.path:
        codes.append("invalid_parameter")
    if route.write:
        codes += _WRITES
    return list(dict.fromkeys(codes))


def _lacking(route: Route) -> list[str]:
    """What tells a caller that it may not, and what it would need."""
    access, codes = route.access, []
    if access.scope is not None:
        codes.append("missing_scope")
        if not access.while_suspended:
            codes.append("account_suspended")
    if access.role is not None:
        codes.append("missing_role")
    if access.level is not None:
        codes.append("missing_level")
    if route.feature is not None:
        codes.append("feature_not_in_plan")
    return codes


def error_responses(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    """By status: the one error shape, with the codes and their remedies."""
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {str(status): _response(status, codes, schema) for status, codes in sorted(by_status.items())}


def _response(status: int, codes: list[str], schema: dict[str, Any]) -> dict[str, Any]:
    headers = [*ALWAYS, *RATES]
    if status in (429, 503):
        headers.append("Retry-After")
    if status == 401:  # noqa: PLR2004  # HTTP
        headers.append("WWW-Authenticate")
    listed = "\n".join(f"- `{code}`: {CODES[code].message} {CODES[code].remedy}" for code in codes)
    return {
        "description": f"{reason(status)}\n\n{listed}",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {"application/json": {"schema": schema, "example": _example(codes[0])}},
    }


def _example(code: str) -> dict[str, Any]:
    declared = CODES[code]
    return {
        "error": {
            "code": code,
            "type": KINDS[declared.kind].type,
            "message": declared.message,
            "param": None,
            "request_id": "req_0123456789abcdef0123456789abcdef",
        }
    }
