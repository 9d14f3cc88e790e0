"""Names of settings that nobody reads are told, with the name that was meant."""

import io
from collections.abc import Callable, Iterator, Mapping

import msgspec
import pytest

from api.settings import read_settings as read_api_settings
from telemetry import logs
from telemetry.environment import PREFIX, SettingsError
from telemetry.known_settings import NAMES, TOLD_MAX, lines_of_unknown, unknown_settings, warn_of_unknown
from worker.settings import read_settings as read_worker_settings


class Asked(Mapping[str, str]):
    """An empty environment that remembers which variables it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def asked_by(read: Callable[[Mapping[str, str]], object]) -> set[str]:
    """The variables that a process reads."""
    asked = Asked()
    with pytest.raises(SettingsError):
        read(asked)
    return asked.names


def test_known_are_those_that_the_processes_read() -> None:
    """No name of theirs is missing, and none is known that nobody reads."""
    assert asked_by(read_api_settings) | asked_by(read_worker_settings) == {PREFIX + name for name in NAMES}


def test_a_typo_is_told_with_what_was_meant() -> None:
    """The other process's settings, developers' names and those of others are no typos."""
    variables = {
        "FORMSTATE_PROT": "8001",
        "FORMSTATE_TRUSTED_PROXY": "10.0.0.0/8",
        "FORMSTATE_XYZZY": "1",
        "FORMSTATE_PORT": "8000",
        "FORMSTATE_WORKER_LANES": "2",
        "FORMSTATE_PROVIDER_LATENCY_MS": "200",
        "FORMSTATE_TEST_SEED": "7",
        "FORMSTATE_OPENAI_KEY": "sk",
        "PATH": "/bin",
    }
    assert unknown_settings(variables, also=["FORMSTATE_OPENAI_KEY"]) == {
        "FORMSTATE_PROT": "FORMSTATE_PORT",
        "FORMSTATE_TRUSTED_PROXY": "FORMSTATE_TRUSTED_PROXIES",
        "FORMSTATE_XYZZY": None,
    }


def test_they_are_lines_where_there_is_no_log() -> None:
    """Nothing where there is none."""
    assert lines_of_unknown({"FORMSTATE_PROT": "8001", "FORMSTATE_XYZZY": "1"}) == (
        "nobody reads FORMSTATE_PROT: is FORMSTATE_PORT meant?\nnobody reads FORMSTATE_XYZZY\n"
    )
    assert lines_of_unknown({"FORMSTATE_PORT": "8001"}) == ""


def test_the_warnings_are_lines_of_the_log_without_the_values() -> None:
    """One for each, and not without end."""
    lines = io.StringIO()
    logs.configure(stream=lines)
    warn_of_unknown({f"FORMSTATE_LIMITZ{number:03}": "hunter2" for number in range(100)})
    told = [msgspec.json.decode(line) for line in lines.getvalue().splitlines()]
    assert len(told) == TOLD_MAX
    assert {(line["event"], line["level"], line["nearest"]) for line in told} == {
        ("setting_unknown", "warning", "FORMSTATE_LIMITS")
    }
    assert "hunter2" not in lines.getvalue()
