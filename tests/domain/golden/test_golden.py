"""Golden files: one for each event type and version, one for each command. They are never changed, only added to.

`python -m tests.domain.golden` writes those that are missing, with made-up values; look at them before you commit.
"""

import json
from pathlib import Path

import msgspec
import pytest

from domain.registry import command_types, event_types
from eventstore import codec
from tests.domain.golden.sample import COMMANDS, EVENTS, command_files, event_files

EVENT_FILES = sorted(EVENTS.glob("*.json"))
COMMAND_FILES = sorted(COMMANDS.glob("*.json"))


def test_every_event_type_and_version_has_a_file() -> None:
    """A new event, or a new version of one, comes with its golden file; older versions keep theirs."""
    assert [path.name for path in event_files() if not path.exists()] == []


def test_every_command_has_a_file() -> None:
    """A new command comes with its golden file."""
    assert [path.name for path in command_files() if not path.exists()] == []


@pytest.mark.parametrize("path", EVENT_FILES, ids=lambda path: path.name)
def test_an_event_decodes_for_ever(path: Path) -> None:
    """Whatever was once written is read in today's shape, and today's shape keeps every value that it had."""
    tag, _, version = path.stem.rpartition(".v")
    stored = json.loads(path.read_bytes())
    event = codec.decode_event(tag, int(version), path.read_bytes())
    assert codec.tag_of(event) == stored["type"] == tag
    if int(version) == event.schema_version:
        written = json.loads(msgspec.json.encode(event))
        assert {name: written[name] for name in stored} == stored


@pytest.mark.parametrize("path", EVENT_FILES, ids=lambda path: path.name)
def test_unknown_fields_of_events_are_ignored(path: Path) -> None:
    """The release before this one reads what this one writes."""
    tag, _, version = path.stem.rpartition(".v")
    more = json.dumps(json.loads(path.read_bytes()) | {"added_later": {"deep": [1]}}).encode()
    assert codec.decode_event(tag, int(version), more) == codec.decode_event(tag, int(version), path.read_bytes())


@pytest.mark.parametrize("path", COMMAND_FILES, ids=lambda path: path.name)
def test_a_command_keeps_its_tag_and_shape(path: Path) -> None:
    """A renamed tag, a field that is gone, or a new field without a default would strand what is in the log."""
    command = msgspec.json.decode(path.read_bytes(), type=command_types()[path.stem])
    assert codec.tag_of(command) == path.stem
    written = json.loads(msgspec.json.encode(command))
    stored = json.loads(path.read_bytes())
    assert {name: written[name] for name in stored} == stored


@pytest.mark.parametrize("path", COMMAND_FILES, ids=lambda path: path.name)
def test_unknown_fields_of_commands_are_refused(path: Path) -> None:
    """A command that says more than this release understands is not half understood."""
    more = json.dumps(json.loads(path.read_bytes()) | {"added_later": 1}).encode()
    with pytest.raises(msgspec.ValidationError, match="added_later"):
        msgspec.json.decode(more, type=command_types()[path.stem])


def test_no_golden_file_is_of_a_type_that_is_gone() -> None:
    """An event's type can never go: its events are in logs."""
    assert {path.stem.rpartition(".v")[0] for path in EVENT_FILES} <= event_types().keys()
    assert {path.stem for path in COMMAND_FILES} <= command_types().keys()
