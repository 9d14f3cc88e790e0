"""Log lines."""

import contextvars
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; the process's own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = structlog.get_config()
    made = io.StringIO()
    logs.configure("info", stream=made, process="test")
    yield made
    logs.configure("error")
    structlog.configure(**kept)
    root.handlers[:], root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, line by line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object(stream: io.StringIO) -> None:
    """Every line is JSON with event, level, time and process, whatever the values are."""
    logs.get(part="x").info("thing_happened", at_what=object, text="two\nlines", number=1.5)
    (line,) = lines(stream)
    assert line["event"] == "thing_happened"
    assert (line["level"], line["process"], line["part"], line["text"]) == ("info", "test", "x", "two\nlines")
    assert line["at"].endswith("Z")


def test_levels_are_kept(stream: io.StringIO) -> None:
    """What is below the level is not written."""
    logs.get().debug("too_fine")
    assert lines(stream) == []


def test_ids_bound_at_the_edge_are_in_every_line(stream: io.StringIO) -> None:
    """A request id that is given once is in all lines of the request, and so is what is found out later."""

    def request() -> None:
        logs.begin(request_id="req_1")
        logs.get().info("thing_happened")
        logs.add(account_id="user_1")
        logs.get().info("thing_happened", request_id="req_2")

    contextvars.copy_context().run(request)
    logs.add(account_id="user_2")
    logs.get().info("thing_happened")
    found = [(line.get("request_id"), line.get("account_id")) for line in lines(stream)]
    assert found == [("req_1", None), ("req_2", "user_1"), (None, None)]


def test_exceptions_are_whole_and_redacted(stream: io.StringIO) -> None:
    """A traceback is in the line, and secrets in its message are not."""
    try:
        int("no user ada@example.com")
    except ValueError:
        logs.get().exception("thing_failed")
    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "ada@example.com" not in line["exception"]


def test_libraries_speak_in_the_same_form(stream: io.StringIO) -> None:
    """Lines of libraries are JSON too, from `warning` on, and redacted."""
    logging.getLogger("some.library").info("not heard")
    logging.getLogger("some.library").warning("sent %s", "Bearer 0123456789abcdef")
    (line,) = lines(stream)
    assert (line["event"], line["library"], line["level"]) == ("library_logged", "some.library", "warning")
    assert "0123456789abcdef" not in line["message"]


async def test_access_lines_leave_together(stream: io.StringIO) -> None:
    """Access lines wait for each other a moment, are complete, and show no address that a client sent as an id."""
    access = logs.access_lines()
    assert access is not None
    for number in range(3):
        access.write("request_finished", f"ada{number}@example.com", {"status": 200 + number})
    access.flush()
    assert [line["status"] for line in lines(stream)] == [200, 201, 202]
    assert all(line["process"] == "test" and "@" not in line["request_id"] for line in lines(stream))


async def test_many_access_lines_do_not_wait(stream: io.StringIO) -> None:
    """What waits is bounded."""
    access = logs.access_lines()
    assert access is not None
    for _ in range(logs.ACCESS_LINES_MAX):
        access.write("request_finished", "req_1", {})
    assert len(lines(stream)) == logs.ACCESS_LINES_MAX


def test_nobody_writes_access_lines_above_info(stream: io.StringIO) -> None:
    """From `warning` on there are none, and they cost nothing."""
    logs.configure("warning", stream=stream)
    assert logs.access_lines() is None


@pytest.mark.usefixtures("stream")  # puts the process's logging back
def test_lines_go_to_standard_error_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who captured standard error when logging was set up, and has let go of it, is not written to."""
    captured = io.StringIO()
    monkeypatch.setattr("sys.stderr", captured)
    logs.configure()
    captured.close()
    now = io.StringIO()
    monkeypatch.setattr("sys.stderr", now)
    logs.get().info("still_heard")
    assert "still_heard" in now.getvalue()
