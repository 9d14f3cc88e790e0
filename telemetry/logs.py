"""Structured JSON logs: one object a line, events in the past tense, ids bound once at the edge, secrets redacted."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import msgspec
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, unbind_contextvars
from structlog.typing import FilteringBoundLogger

from telemetry.redaction import redact_event

__all__ = ["LEVELS", "bind_contextvars", "clear_contextvars", "configure", "get", "unbind_contextvars"]

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
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


def configure(level: str = "info", *, stream: TextIO | None = None, process: str | None = None) -> None:
    """Sets logging up for this process: `level` of `LEVELS`, to standard error unless `stream` is given.

    `process` (`api`, `worker`, …) is in every line. Libraries are heard from `warning` on.
    """
    number = LEVELS[level]
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _named(process),
            redact_event,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Library()]
    root.setLevel(max(number, logging.WARNING))


def _named(process: str | None) -> Any:
    def add_process(_logger: Any, _method: str, event: Any) -> Any:
        if process is not None:
            event.setdefault("process", process)
        return event

    return add_process


def get(**ids: Any) -> FilteringBoundLogger:
    """A logger; `ids` are in each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(**ids)
    return logger
