"""The process as its own routes see it: what it is, what it waits for, and its services once they exist."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from api.parts import ProcessMode
from api.settings import ApiSettings

if TYPE_CHECKING:
    from api.parts import Services
    from api.route import Route

VERSION = "0.1.0"

Check = Callable[[], Awaitable[str | None]]
"""Answers why a dependency cannot be used just now, or `None`."""


class Process:
    """Changes only while starting and stopping; `services` is `None` until store and log were reached."""

    def __init__(self, settings: ApiSettings, mode: ProcessMode) -> None:
        self.settings = settings
        self.mode: ProcessMode = mode
        self.services: Services | None = None
        self.routes: tuple[Route, ...] = ()
        self.openapi: bytes | None = None
        """The document of these routes, made when it is first asked for."""
        self.waiting_for: dict[str, str] = {}
        """Why the process has not started, by dependency."""
        self.checks: dict[str, Check] = {}
        """What `/ready` asks, by dependency."""
        self.stopping = False
        self.started_at = time.monotonic()
