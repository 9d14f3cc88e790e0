"""Logs are kept, not printed: a test of bugs makes many, and some are asserted on."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged during the test."""
    with structlog.testing.capture_logs() as entries:
        yield entries
