"""What a provider's refusal means for our client: its own mistakes pass through, ours and the provider's do not."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from api.errors import ApiError, Kind, declare
from api.llm_models import Deployment

AGAIN = "Try again; nothing was charged."

declare("upstream_error", "bad_gateway", "The provider failed to answer.", AGAIN)
declare("upstream_unavailable", "unavailable", "The provider cannot be reached.", AGAIN)
declare("upstream_timeout", "gateway_timeout", "The provider took too long.", AGAIN)
declare(
    "upstream_rate_limited",
    "too_many",
    "The provider has too many requests of ours just now.",
    "Try again after the seconds in Retry-After; nothing was charged.",
)
declare(
    "upstream_rejected",
    "invalid",
    "The provider refused the request.",
    "The message is the provider's own; nothing was charged.",
)

RETRYABLE = frozenset({"upstream_error", "upstream_unavailable", "upstream_rate_limited", "upstream_timeout"})
PASSED_ON: dict[int, Kind] = {400: "invalid", 413: "too_large", 422: "invalid"}
"""The client's own mistakes. A 401, 403 or 404 is about our key and our model's name: the operator's mistakes."""
TOO_MANY = 429
UNAVAILABLE = frozenset({503, 529})
TIMEOUTS = frozenset({408, 504})
SAME = {"exceed_context_size_error": "context_length_exceeded"}
"""What llama.cpp calls by a type of its own has a code at OpenAI."""
MESSAGE_CHARS_MAX = 2_000


class _Error(Struct, frozen=True, kw_only=True):
    message: str | None = None
    param: str | None = None
    code: str | int | None = None
    type: str | None = None


class _Body(Struct, frozen=True, kw_only=True):
    error: _Error


_bodies = msgspec.json.Decoder(_Body)
_errors = msgspec.json.Decoder(_Error)


def retryable(error: ApiError) -> bool:
    """Whether another try, or another deployment, may succeed."""
    return error.code in RETRYABLE


def retry_after_s(error: ApiError) -> float | None:
    """The provider's `Retry-After`, if it is a number of seconds (RFC 9110, 10.2.3)."""
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else None


def refused(status: int, headers: Mapping[str, str], body: bytes, deployment: Deployment) -> ApiError:
    """Our error for a provider's answer that is no success. The provider's key is never in it."""
    if status in PASSED_ON:
        try:
            told = _bodies.decode(body).error
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return ApiError("upstream_rejected")
        return _passed_on(told, deployment, PASSED_ON[status])
    again = headers.get("Retry-After", "")
    wait = {"Retry-After": again} if again.isascii() and again.isdecimal() else {"Retry-After": "1"}
    if status == TOO_MANY:
        return ApiError("upstream_rate_limited", headers=wait)
    if status in UNAVAILABLE:
        return ApiError("upstream_unavailable", headers=wait)
    if status in TIMEOUTS:
        return ApiError("upstream_timeout")
    return ApiError("upstream_error", f"The provider answered with status {status}.")


def told_in_stream(raw: Raw, deployment: Deployment) -> ApiError:
    """An error that a provider sends as an event."""
    try:
        told = _errors.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ApiError("upstream_error")
    return _passed_on(told, deployment, "bad_gateway")


def _passed_on(told: _Error, deployment: Deployment, kind: Kind) -> ApiError:
    message, code = told.message, told.code if isinstance(told.code, str) else SAME.get(told.type or "")
    secret = deployment.api_key
    if secret:
        message = message.replace(secret, "***") if message else None
        code = None if code and secret in code else code
    fallback = "upstream_error" if kind == "bad_gateway" else "upstream_rejected"
    shown = message[:MESSAGE_CHARS_MAX] if message else None
    error = ApiError(code or fallback, shown or "The provider refused the request.", param=told.param, kind=kind)
    error.kind = kind  # a code of the same name that we declared may be of another kind
    return error
