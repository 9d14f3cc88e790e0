"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): off unless origins are configured."""

from collections.abc import Mapping, Sequence

Header = tuple[bytes, bytes]

_REQUEST_HEADERS = (
    "Authorization, X-API-Key, Content-Type, Idempotency-Key, Prefer, X-Request-Id, X-Prefer-BYOK, "
    "X-Organization, traceparent"
)
_EXPOSED = (
    "X-Request-Id, Location, Retry-After, X-Credits-Cost, X-Credits-Remaining, X-Settlement, X-Subscription-Status, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, X-Quota-Warning, Link, "
    "Preference-Applied"
)
_MAX_AGE_S = "600"


class Cors:
    """Answers browsers' questions for the configured origins. Cookies play no part, so credentials are not allowed."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode("latin-1") for origin in origins)

    def headers(self, request: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """What an answer carries for the request's origin."""
        if not self._origins:
            return ()
        origin = request.get(b"origin")
        if origin not in self._origins or origin is None:
            return ((b"vary", b"Origin"),)
        return (
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED.encode("ascii")),
        )

    def preflight(self, request: Mapping[bytes, bytes], methods: str) -> dict[str, str]:
        """What an OPTIONS answer adds when a browser asks before a request."""
        if request.get(b"origin") not in self._origins or b"access-control-request-method" not in request:
            return {}
        return {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": _MAX_AGE_S,
        }
