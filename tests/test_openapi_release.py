"""The API of the last release goes on working: its OpenAPI document is kept in `docs/openapi.json`."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.openapi_changes import breaking_changes

ROOT = Path(__file__).resolve().parent.parent
RELEASED: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))


def test_nothing_that_was_released_breaks() -> None:
    """A client written against the last release works with this one; `make openapi` keeps a new release's document."""
    shown = subprocess.run(
        [sys.executable, "-m", "api", "--openapi"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert breaking_changes(RELEASED, json.loads(shown.stdout)) == []


@pytest.mark.parametrize(
    ("where", "change", "found"),
    [
        (("paths",), lambda paths: paths.pop("/users/me"), "GET /users/me is gone"),
        (
            ("paths", "/users/me", "get"),
            lambda operation: operation.update(operationId="whoami"),
            "GET /users/me: the operation is called whoami, was show_caller_user",
        ),
        (
            ("components", "schemas", "CreditsShown", "properties"),
            lambda properties: properties.pop("available"),
            "GET /billing/credits answer 200: available is gone",
        ),
        (
            ("components", "schemas", "NewApiKey"),
            lambda schema: schema.setdefault("required", []).append("scopes"),
            "POST /api-keys body: scopes is required now",
        ),
    ],
)
def test_breaking_changes_are_found(where: tuple[str, ...], change: Any, found: str) -> None:
    """A route that goes, a field that an answer loses, a field that a request must have: each is named."""
    current = copy.deepcopy(RELEASED)
    place = current
    for step in where:
        place = place[step]
    change(place)
    assert found in breaking_changes(RELEASED, current)
