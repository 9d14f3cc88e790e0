"""What is refused before it is a request: counted each time, told of once a minute."""

import logging

import pytest
import structlog

from api.app import create_app
from api.http_refusals import LINES_EVERY_S, RefusalLines
from tests.api.running import application
from tests.api.serving import raw_request, served


def test_nonsense_cannot_fill_the_log() -> None:
    """The first is told at once; all that come within a minute are told of together, and none is left out."""
    now_s = [1_000.0]
    lines = RefusalLines(lambda: now_s[0])
    with structlog.testing.capture_logs() as logged:
        for _ in range(1_000):
            lines.count("invalid_http")
            lines.count("headers_too_large")
        assert [line["counts"] for line in logged] == [{"invalid_http": 1}]
        now_s[0] += LINES_EVERY_S
        lines.count("invalid_http")
    assert logged[1:] == [
        {
            "event": "http_refused",
            "log_level": "warning",
            "counts": {"headers_too_large": 1_000, "invalid_http": 1_000},
        }
    ]


async def test_what_a_client_sends_is_no_line_of_a_library(caplog: pytest.LogCaptureFixture) -> None:
    """Neither nonsense nor an upgrade that is not there; the metric has what was refused."""
    upgrade = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with application() as running, served(create_app(running.services)) as url:
        with caplog.at_level(logging.WARNING):
            assert (await raw_request(url, b"nonsense\r\n\r\n")).status == 400
            await raw_request(url, upgrade)
        metrics = await raw_request(url, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    assert not caplog.records
    assert b'formstate_http_refused_total{code="invalid_http"}' in metrics.body


async def test_http_1_0_needs_no_host() -> None:
    """Probes of load balancers leave it out."""
    async with application() as running, served(create_app(running.services)) as url:
        assert (await raw_request(url, b"GET /health HTTP/1.0\r\n\r\n")).status == 200
