"""The process as its own routes see it: what it is, what it waits for, and its services once they exist."""

import time
from typing import TYPE_CHECKING

from api.services import ProcessMode

if TYPE_CHECKING:
    from api.services import Services
    from api.settings import ApiSettings

VERSION = "0.1.0"


class Process:
    """Changes only while starting and stopping; `services` is `None` until store and log were reached."""

    def __init__(self, settings: "ApiSettings", mode: ProcessMode) -> None:
        self.settings = settings
        self.mode: ProcessMode = mode
        self.services: Services | None = None
        self.problems: dict[str, str] = {}
        """Why the process is not ready, by dependency; written while starting."""
        self.started_at = time.monotonic()
