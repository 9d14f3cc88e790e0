"""Browsers' requests from other origins."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from api.app import Application
from api.process import Process
from tests.api.running import application
from tests.api.serving import raw_request, served
from tests.api.test_endpoint import ROUTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "https://app.example.com"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    """A server that lets one origin in."""
    async with application() as running:
        process = Process(replace(running.services.settings, cors_origins=(ORIGIN,)), "production")
        process.services = running.services
        async with served(Application(process, ROUTES)) as address:
            yield address


async def test_the_origin_may_ask(url: str) -> None:
    """A configured origin sees the answer and the headers that matter to it; errors too."""
    for path, status in (("/things", 200), ("/private", 401)):
        answer = await raw_request(url, f"GET {path} HTTP/1.1\r\nhost: x\r\norigin: {ORIGIN}\r\n\r\n".encode())
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "X-Credits-Remaining" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


async def test_the_browser_asks_first(url: str) -> None:
    """A preflight of a configured origin is told methods and headers."""
    head = f"OPTIONS /things HTTP/1.1\r\nhost: x\r\norigin: {ORIGIN}\r\naccess-control-request-method: POST\r\n\r\n"
    answer = await raw_request(url, head.encode())
    assert answer.status == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example", ORIGIN.upper()])
async def test_other_origins_may_not(url: str, origin: str) -> None:
    """Nobody else is let in, and caches are told that the answer depends on who asks."""
    answer = await raw_request(url, f"GET /things HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\n\r\n".encode())
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"
