"""`docs/operating.md` names the settings, commands, metrics and errors that there are."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import api.app
import api.http_refusals
import api.wiring
import worker.metrics
from api.billing.settings import BillingSettings
from api.llm_models import load_llm_models
from api.settings import ApiSettings
from api.settings import read_settings as read_api_settings
from api.toml_file import BadFile
from telemetry.environment import PREFIX, SettingsError
from telemetry.metrics import REGISTRY
from tests.docs.markdown import ROOT, blocks_of, table_of
from tests.telemetry.test_known_settings import asked_by
from worker.__main__ import parser
from worker.outgoing.settings import OutgoingSettings
from worker.settings import WorkerSettings
from worker.settings import read_settings as read_worker_settings

DOCUMENT = "docs/operating.md"
TEXT = (ROOT / DOCUMENT).read_text("utf-8")
DECLARING = (api.app, api.http_refusals, api.wiring, worker.metrics)
"""Metrics appear in the registry when their modules are imported."""


@pytest.mark.parametrize(("process", "read"), [("api", read_api_settings), ("worker", read_worker_settings)])
def test_settings_are_those_that_the_process_reads(process: str, read: Callable[[Mapping[str, str]], object]) -> None:
    """The table lists every variable of each process, and none that nobody reads."""
    listed = {row[0].strip("`") for row in table_of(DOCUMENT, "## Settings") if row[1] in (process, "both")}
    assert listed == asked_by(read)


def test_default_settings_are_the_real_ones() -> None:
    """What must be given and what need not be is as the table says."""
    with pytest.raises(SettingsError) as caught:
        read_api_settings({})
    missing = {problem.split()[0] for problem in caught.value.problems}
    rows = table_of(DOCUMENT, "## Settings")
    assert missing == {row[0].strip("`") for row in rows if row[3] == "must be given" and row[1] != "worker"}


@pytest.mark.parametrize(("process", "settings"), [("api", ApiSettings), ("worker", WorkerSettings)])
def test_defaults_are_the_real_ones(process: str, settings: type) -> None:
    """What the table says of a variable that is left out is what the process takes then."""
    fields = {field.name: field.default for field in dataclasses.fields(settings)}
    if "billing" in fields:
        fields |= {field.name: field.default for field in dataclasses.fields(BillingSettings)}
        fields["billing_provider"] = fields.pop("provider")
    if "outgoing" in fields:
        fields |= {field.name: field.default for field in dataclasses.fields(OutgoingSettings)}
        fields["webhook_secret"] = None
    for row in table_of(DOCUMENT, "## Settings"):
        if row[1] not in (process, "both"):
            continue
        variable = row[0].strip("`").removeprefix(PREFIX).lower()
        name = variable if variable in fields else variable.removeprefix(f"{process}_")
        assert row[3] in _told(name, fields[name]), variable


def _told(name: str, default: object) -> set[str]:
    """How the table may put a default in words; a switch is on or off, and nothing is told by what that means."""
    if default is dataclasses.MISSING:
        return {"must be given"}
    files = {"plans_file": "`api/plans.toml`", "models_file": "`api/llm_models.toml`"}
    nothing = {
        "metrics_port": {"on the main port", "off"},
        "cors_origins": {"none"},
        "issuers_file": {"none"},
        "audit_export_dir": {"none"},
        "trusted_proxies": {"nobody"},
    }
    nothing |= {"mailer_url": {"none"}, "mailer_secret": {"none"}}
    nothing |= {"stripe_secret_key": {"none"}, "stripe_webhook_secrets": {"none"}, "autumn_webhook_secrets": {"none"}}
    nothing |= {
        "pricing_url": {"none"},
        "webhook_url": {"none"},
        "webhook_secret": {"none"},
        "autumn_secret_key": {"none"},
    }
    if name in files:
        assert (ROOT / files[name].strip("`")).is_file()
        assert default is None
        return {files[name]}
    if isinstance(default, bool):
        return {"`on`" if default else "`off`"}
    return {f"`{default}`"} if default else nothing[name]


def test_the_models_file_is_one_that_is_taken(tmp_path: Path) -> None:
    """The example under Models has a key from the environment, prices and a fallback."""
    example = next(block.text for block in blocks_of(DOCUMENT) if "[models." in block.text)
    file = tmp_path / "models.toml"
    file.write_text(example, "utf-8")
    model = load_llm_models(file, {"OPENAI_API_KEY": "sk-hunter2"})["gpt-large"]
    assert [each.api_key for each in model.deployments] == ["sk-hunter2", None]
    with pytest.raises(BadFile, match="OPENAI_API_KEY is not set"):
        load_llm_models(file, {})


def test_first_start_makes_usable_settings() -> None:
    """The exports of the first start, pasted, satisfy the api; what runs after them is marked as not run."""
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED: openssl is needed to make secrets as operators do")
    start = next(block for block in blocks_of(DOCUMENT) if "worker migrate" in block.text)
    assert start.comment.startswith("not run: ")
    exports = "\n".join(line for line in start.text.splitlines() if line.startswith(("export ", "secret() ")))
    script = f'set -eu\n{exports}\n"$PYTHON" -m api --check'
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    checked = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=clean | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "the settings are usable\n")


def test_commands_exist() -> None:
    """Every command of the worker that a document names is one that it has, with the words that are shown."""
    texts = [TEXT, *((ROOT / name).read_text("utf-8") for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
    named = {found for text in texts for found in re.findall(r"python -m worker ([a-z-]+(?: [a-z]+\b)?)", text)}
    named |= set(re.findall(r"`((?:adopt-log|dead-letters|quarantine)(?: [a-z]+)?)`", TEXT))
    known = _commands()
    assert named
    assert {each for each in named if each not in known and each.split()[0] not in _without_words()} == set()


def test_metrics_exist() -> None:
    """Every metric that is to be watched is one that a process has."""
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in REGISTRY.collect()}
    assert set(re.findall(r"`(formstate_\w+)`", TEXT)) <= names


def test_failures_have_the_names_that_are_logged() -> None:
    """What an operator sees in log or console is in the code under that very name."""
    code = "".join(
        path.read_text("utf-8") for root in ("api", "worker", "eventstore") for path in (ROOT / root).rglob("*.py")
    )
    for name in ("store_restored", "log_recreated", "log_truncated", "BadDeploy", "shard_given_back"):
        assert name in TEXT
        assert name in code, name


def _commands() -> set[str]:
    """`run`, `dead-letters list` and so on, from the parser itself."""
    found: set[str] = set()
    for name, command in _choices(parser()).items():
        found.add(name)
        found |= {f"{name} {word}" for word in _choices(command)}
    return found


def _without_words() -> set[str]:
    """Commands whose next word is an argument, such as a user's id."""
    return {name for name, command in _choices(parser()).items() if not _choices(command)}


def _choices(found: object) -> Mapping[str, object]:
    """The subcommands of a parser, by name."""
    for action in getattr(found, "_actions", ()):
        if isinstance(action.choices, Mapping):
            return action.choices
    return {}
