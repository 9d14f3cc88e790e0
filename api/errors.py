"""The one table from kinds of refusal to HTTP status, and the one error that the HTTP process raises.

A code belongs to a kind, a kind to a status and an OpenAI `type`. Codes are declared with `declare`, beside the routes
that raise them or, for those that any route can raise, in `error_codes`; each comes with its remedy, which feeds
`docs/errors.md` and `/openapi.json`. A refusal of the domain brings its kind along, so an undeclared code works too.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from domain.money import format_credits

if TYPE_CHECKING:
    from api.caller import Caller

Kind: TypeAlias = Literal[
    "invalid",
    "unauthenticated",
    "payment_required",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "too_slow",
    "conflict",
    "too_large",
    "unsupported_media",
    "reused",
    "too_many",
    "headers_too_large",
    "internal",
    "bad_gateway",
    "unavailable",
    "deadline_passed",
    "gateway_timeout",
]


class Meaning(NamedTuple):
    """What a kind is in HTTP, and OpenAI's word for it."""

    status: int
    type: str


KINDS: dict[Kind, Meaning] = {
    "invalid": Meaning(400, "invalid_request_error"),
    "unauthenticated": Meaning(401, "authentication_error"),
    "payment_required": Meaning(402, "insufficient_quota"),
    "forbidden": Meaning(403, "permission_error"),
    "not_found": Meaning(404, "not_found_error"),
    "method_not_allowed": Meaning(405, "invalid_request_error"),
    "too_slow": Meaning(408, "invalid_request_error"),
    "conflict": Meaning(409, "conflict_error"),
    "too_large": Meaning(413, "invalid_request_error"),
    "unsupported_media": Meaning(415, "invalid_request_error"),
    "reused": Meaning(422, "idempotency_error"),
    "too_many": Meaning(429, "rate_limit_error"),
    "headers_too_large": Meaning(431, "invalid_request_error"),
    "internal": Meaning(500, "server_error"),
    "bad_gateway": Meaning(502, "upstream_error"),
    "unavailable": Meaning(503, "server_error"),
    "deadline_passed": Meaning(503, "server_error"),
    "gateway_timeout": Meaning(504, "upstream_error"),
}
"""The only place where HTTP status numbers of errors are written."""

MONEY = frozenset(
    {
        "amount",
        "available",
        "balance",
        "charged",
        "cost",
        "credit_limit",
        "credits",
        "debt",
        "difference",
        "held",
        "low_balance",
        "owed",
        "repaid",
        "required",
        "taken",
    }
)
"""Names that are micro-credits wherever the domain uses them in detail or answers; outside they are decimal strings."""


class ErrorCode(Struct, frozen=True, kw_only=True):
    """One stable code: what kind of refusal it is, what it says by default, and what its reader should do."""

    code: str
    kind: Kind
    message: str
    remedy: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status


CODES: dict[str, ErrorCode] = {}
"""Every declared code; complete once all route modules are imported (`api.route.all_routes`)."""


def declare(code: str, kind: Kind, message: str, remedy: str) -> str:
    """Adds a code to the table and answers it. The same code with another meaning is a mistake of ours."""
    declared = ErrorCode(code=code, kind=kind, message=message, remedy=remedy)
    if CODES.setdefault(code, declared) != declared:
        raise RuntimeError(f"the error code {code!r} is declared twice with different meanings")
    return code


class ApiError(Exception):
    """A refusal as the client sees it: `raise ApiError("email_taken")`.

    `message` replaces the code's own; `param` names the offending field, parameter or header; `headers` are added to
    the answer; `detail` is public and lies beside the code in the body (micro-credits under the names in `MONEY`).
    `kind` is needed only for codes that are not declared.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        kind: Kind | None = None,
        **detail: Any,
    ) -> None:
        declared = CODES.get(code)
        if declared is None and kind is None:
            raise LookupError(f"the error code {code!r} is not declared")
        self.code = code
        self.kind: Kind = declared.kind if declared is not None else (kind or "internal")
        self.message = message or (declared.message if declared is not None else code)
        self.param = param
        self.headers: Mapping[str, str] = headers or {}
        self.detail = detail
        self.decided = False
        """A worker has refused it: it is on record by command."""
        self.about: Caller | None = None
        """Whose credentials were refused, where that is known."""
        super().__init__(f"{code}: {self.message}")

    @property
    def status(self) -> int:
        """The HTTP status of the error's kind."""
        return KINDS[self.kind].status

    def body(self, request_id: str) -> bytes:
        """`{"error": {"code", "type", "message", "param", "request_id", …detail}}` as JSON."""
        error = {
            **public(self.detail),
            "code": self.code,
            "type": KINDS[self.kind].type,
            "message": self.message,
            "param": self.param,
            "request_id": request_id,
        }
        return msgspec.json.encode({"error": error})


def public(data: Mapping[str, Any]) -> dict[str, Any]:
    """The domain's data as the client sees it: micro-credits become decimal strings with six places."""
    return {
        name: format_credits(value) if name in MONEY and type(value) is int else value for name, value in data.items()
    }


class Refusal(Struct, frozen=True, kw_only=True):
    """The data of a rejected outcome: a `DomainError`, written down by the worker."""

    code: str
    kind: str
    message: str
    detail: dict[str, Any] = {}  # msgspec copies the default


_refusals = msgspec.json.Decoder(Refusal)


def refusal(data: bytes | msgspec.Raw) -> ApiError:
    """The error of a rejected outcome's data, with the domain's own code, message and detail."""
    found = _refusals.decode(data)
    error = refused(found.code, found.kind, found.message, found.detail)
    error.decided = True
    return error


def refused(code: str, kind: str, message: str, detail: Mapping[str, Any]) -> ApiError:
    """The error of a refusal of the domain; `kind` is a `DomainError`'s."""
    public_detail = dict(detail)
    param = public_detail.pop("param", None)
    known: Kind = kind if kind in KINDS else "internal"
    retry = {"Retry-After": "1"} if known in ("deadline_passed", "too_many") else None
    return ApiError(code, message, param=param, headers=retry, kind=known, **public_detail)


def reason(status: int) -> str:
    """The phrase of a status, for descriptions."""
    return HTTPStatus(status).phrase


import api.error_codes  # noqa: E402, F401  # declares the codes that every route can answer; needs `declare`
