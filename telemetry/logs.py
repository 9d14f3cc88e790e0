"""Structured JSON logs: one object a line, events in the past tense, ids bound once at the edge, secrets redacted."""

import asyncio
import atexit
import contextlib
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from telemetry.redaction import redact_event, redact_text

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
ACCESS_LINES_S = 0.1
"""How long an access line may wait for others."""
ACCESS_LINES_MAX = 500
_encoder = msgspec.json.Encoder(enc_hook=str)


def _render(_logger: Any, _method: str, event: Any) -> str:
    """The event first, so that people can read the lines too."""
    name = event.pop("event", "")
    return _encoder.encode({"event": name, **event}).decode()


class _Library(logging.Handler):
    """Brings the lines of libraries into the same chain."""

    def emit(self, record: logging.LogRecord) -> None:
        """Logs the record's message as a field, never as the event's name."""
        log = structlog.get_logger()
        exc_info = record.exc_info if record.exc_info and record.exc_info[0] is not None else None
        log.log(record.levelno, "library_logged", library=record.name, message=record.getMessage(), exc_info=exc_info)


class _StandardError:
    """Standard error as it is when a line is written: who captures it for a while must not be written to afterwards."""

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        sys.stderr.flush()


def configure(level: str = "info", *, stream: TextIO | None = None, process: str | None = None) -> None:
    """Sets logging up for this process: `level` of `LEVELS`, to standard error unless `stream` is given.

    `process` (`api`, `worker`, …) is in every line. Libraries are heard from `warning` on.
    """
    global _access  # noqa: PLW0603  # logging belongs to the process
    number = LEVELS[level]
    if _access is not None:
        _access.close()
    lines = stream or cast("TextIO", _StandardError())
    _access = AccessLines(process, lines) if number <= LEVELS["info"] else None
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            _with_ids,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _named(process),
            redact_event,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Library()]
    root.setLevel(max(number, logging.WARNING))


class AccessLines:
    """Writes one line for each request, past the chain: its fields are few, known and harmless but for the id.

    They leave together, a few times a second: writing each by itself would cost more than the rest of a cheap request.
    """

    def __init__(self, process: str | None, stream: TextIO) -> None:
        self._process = process
        self._stream = stream
        self._lines: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)

    def write(self, event: str, request_id: str, fields: Mapping[str, Any]) -> None:
        """One line at level `info`; called in a running loop."""
        line = {
            "event": event,
            **fields,
            "request_id": redact_text(request_id),
            "level": "info",
            "at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "process": self._process,
        }
        self._lines.append(_encoder.encode(line))
        loop = asyncio.get_running_loop()
        if len(self._lines) == 1 or loop is not self._loop:
            self._loop = loop
            loop.call_later(ACCESS_LINES_S, self.flush)
        elif len(self._lines) >= ACCESS_LINES_MAX:
            self.flush()

    def close(self) -> None:
        """Writes what waits; another takes its place."""
        self.flush()
        atexit.unregister(self.flush)

    def flush(self) -> None:
        """Writes what waits. A stream that is closed takes nothing any more, and nobody is left to be told."""
        if self._lines:
            text = b"\n".join((*self._lines, b"")).decode()
            self._lines.clear()
            with contextlib.suppress(ValueError):
                self._stream.write(text)
                self._stream.flush()


_access: AccessLines | None = None


def access_lines() -> AccessLines | None:
    """Where access lines go; `None` while nobody wants lines of level `info`."""
    return _access


def _named(process: str | None) -> Any:
    def add_process(_logger: Any, _method: str, event: Any) -> Any:
        if process is not None:
            event.setdefault("process", process)
        return event

    return add_process


_ids: ContextVar[dict[str, str] | None] = ContextVar("ids", default=None)


def begin(**ids: str) -> None:
    """Each line of this task carries these ids from now on, and those of tasks that it begins."""
    _ids.set(ids)


def add(**ids: str) -> None:
    """These as well."""
    known = _ids.get()
    if known is not None:
        known.update(ids)


def _with_ids(_logger: Any, _method: str, event: Any) -> Any:
    ids = _ids.get()
    return event if ids is None else {**ids, **event}


def get(**ids: Any) -> FilteringBoundLogger:
    """A logger; `ids` are in each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(**ids)
    return logger
