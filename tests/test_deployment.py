"""`compose.yaml` and `Dockerfile` say what the code does: nothing here needs a container engine."""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.settings import read_settings as read_api_settings
from telemetry.known_settings import unknown_settings
from tests.docs.markdown import table_of
from worker.settings import read_settings as read_worker_settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
OWN = ("migrate", "worker", "api")


def _environment(service: str) -> dict[str, str]:
    """The service's variables with every `${NAME:?...}` given as an operator would."""

    def secret() -> str:
        return f"a:{base64.b64encode(secrets.token_bytes(32)).decode()}"

    given = COMPOSE["services"][service]["environment"]
    return {
        name: re.sub(
            r"\$\{\w+:-([^}]*)\}",  # what an operator leaves out
            r"\1",
            re.sub(r"\$\{\w+:\?[^}]*\}", "password" if "URL" in name else secret(), str(value)),
        )
        for name, value in given.items()
    }


def test_compose_file_fits_the_compose_specification() -> None:
    """An engine accepts the file."""
    schema = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8")
    jsonschema.validate(COMPOSE, json.loads(schema))


@pytest.mark.parametrize("service", OWN)
def test_variables_are_all_that_the_process_needs(service: str) -> None:
    """A process gets by with what the file gives it, and every variable is one that it reads."""
    read = read_api_settings if service == "api" else read_worker_settings
    read(_environment(service))
    code = "".join(path.read_text("utf-8") for path in ROOT.glob("[aetw]*/**/*.py"))
    assert unknown_settings(_environment(service)) == {}
    for name in _environment(service):
        assert f'"{name.removeprefix("FORMSTATE_")}"' in code, name


@pytest.mark.parametrize("service", ["api", "worker"])
def test_no_setting_is_left_out(service: str) -> None:
    """What an operator puts into `.env` reaches the process: each setting that there is, but for ports of their own."""
    listed = {row[0].strip("`") for row in table_of("docs/operating.md", "## Settings") if row[1] in (service, "both")}
    assert listed - set(COMPOSE["services"][service]["environment"]) <= {"FORMSTATE_METRICS_PORT"}
    for name, value in COMPOSE["services"][service]["environment"].items():
        assert "${" not in str(value) or f"${{{name}:" in str(value) or name == "FORMSTATE_DATABASE_URL"


@pytest.mark.parametrize("service", OWN)
def test_commands_exist(service: str) -> None:
    """Each command is one that the code has."""
    command = [str(word) for word in COMPOSE["services"][service]["command"]]
    assert command[:2] == ["python", "-m"]
    shown = subprocess.run(
        [sys.executable, *command[1:], "--help"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage: python -m" in shown.stdout


def test_secrets_have_no_default() -> None:
    """No secret is in the file, and none can be forgotten."""
    text = (ROOT / "compose.yaml").read_text("utf-8")
    for name in ("JWT_SECRETS", "API_KEY_PEPPERS", "LOG_MAC_KEYS", "MASTER_KEYS"):
        assert re.search(rf"FORMSTATE_{name}: \$\{{FORMSTATE_{name}:\?", text)


def test_services_report_their_health() -> None:
    """Every service that stays up has a health check, and api and worker wait for the migration."""
    for name, service in COMPOSE["services"].items():
        assert "healthcheck" in service or name == "migrate"
    for name in ("api", "worker"):
        assert COMPOSE["services"][name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_image_holds_what_the_processes_import() -> None:
    """Every package that api and worker may import is copied into the image, devnet and tests are not."""
    copied = set(re.findall(r"^COPY (\w+) \./", DOCKERFILE, re.MULTILINE))
    assert copied == {"api", "domain", "eventstore", "projections", "telemetry", "worker"}
