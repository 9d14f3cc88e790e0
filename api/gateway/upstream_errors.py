"""What a provider's refusal means for our client: its own mistakes pass through, ours and the provider's do not."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from api.errors import CODES, ApiError, Kind, declare
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
    "Mend what the message, which is the provider's own, complains of, and send it again; nothing was charged.",
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


CODE_CHARS_MAX = 64


class _Error(Struct, frozen=True, kw_only=True):
    message: str | None = None
    param: str | None = None
    code: str | None = None
    type: str | None = None


_decode = msgspec.json.Decoder().decode


def _read(body: bytes | Raw) -> _Error:
    """What a provider tells, in OpenAI's `{"error": {…}}` or in some other habit; nothing, if it is no JSON."""
    try:
        value = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _Error()
    if isinstance(value, dict) and isinstance(value.get("error"), dict | str):
        value = value["error"]
    if not isinstance(value, dict):
        return _Error(message=_text(value))
    message = next((value[name] for name in ("message", "detail") if value.get(name)), None)
    param, code, kind = (
        each if isinstance(each := value.get(name), str) else None for name in ("param", "code", "type")
    )
    return _Error(message=_text(message), param=param, code=code, type=kind)


def _text(value: Any) -> str | None:
    """A message; what is none, such as FastAPI's list of mistakes, as JSON."""
    return value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode()


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
        return _passed_on(_read(body), deployment, PASSED_ON[status])
    again = headers.get("Retry-After", "")
    wait = {"Retry-After": again} if again.isascii() and again.isdecimal() else {"Retry-After": "1"}
    if status == TOO_MANY:
        return ApiError("upstream_rate_limited", headers=wait)
    if status in UNAVAILABLE:
        return ApiError("upstream_unavailable", headers=wait)
    if status in TIMEOUTS:
        return ApiError("upstream_timeout")
    return ApiError("upstream_error", f"The provider answered with status {status}.")


def told_in_answer(raw: Raw, deployment: Deployment) -> ApiError:
    """An error that a provider sends with a status of 200: as an event, or in a completion's place."""
    return _passed_on(_read(raw), deployment, "bad_gateway")


def _passed_on(told: _Error, deployment: Deployment, kind: Kind) -> ApiError:
    """The provider's words without our key in them. A code of ours that means something else is not theirs to use."""
    fallback = "upstream_error" if kind == "bad_gateway" else "upstream_rejected"
    secret = deployment.api_key or None
    message, param, code = (
        text.replace(secret, "***") if text and secret else text
        for text in (told.message, told.param, told.code or SAME.get(told.type or ""))
    )
    code = code[:CODE_CHARS_MAX] if code else fallback
    if code in CODES and CODES[code].kind != kind and code != fallback:
        code = f"upstream_{code}"
    default = "The provider failed to answer." if kind == "bad_gateway" else "The provider refused the request."
    error = ApiError(code, message[:MESSAGE_CHARS_MAX] if message else default, param=param, kind=kind)
    error.kind = kind  # our own fallback may be of another kind
    return error
