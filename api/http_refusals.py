"""What is refused before it is a request: its answer in the one error shape, and what an operator hears of it.

Each is counted. The log has a line a minute at most: whoever sends nonsense must not be able to fill it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.answer import Header
from api.errors import ApiError
from api.ids import random_hex
from telemetry import metrics

LINES_EVERY_S = 60.0

_refused = metrics.counter("http_refused", "Connections refused before there was a request.", ("code",))
_log = structlog.get_logger()


class RefusalLines:
    """Says what was refused since the last line: the first at once, then with the next after `LINES_EVERY_S`."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._quiet_until = 0.0

    def count(self, code: str) -> None:
        """One more with this error's code."""
        _refused.labels(code).inc()
        self._counts[code] += 1
        now_s = self._clock()
        if now_s >= self._quiet_until:
            self._quiet_until = now_s + LINES_EVERY_S
            _log.warning("http_refused", counts=dict(self._counts))
            self._counts.clear()


REFUSALS = RefusalLines()
"""The process's own."""


def refusal_bytes(error: ApiError, more: Iterable[Header]) -> bytes:
    """The whole answer, with `more` headers; the connection ends behind it."""
    request_id = f"req_{random_hex()}"
    body = error.body(request_id)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        (b"content-length", b"%d" % len(body)),
        *[(name.lower().encode(), value.encode()) for name, value in error.headers.items()],
        *more,
    ]
    head = b"".join(b"%b: %b\r\n" % header for header in headers)
    return STATUS_LINE[error.status] + head + b"\r\n" + body
