"""The control routes, the provider as a process of its own, and a thousand streams at once."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from devnet.provider import ProviderOptions, Running, running
from tests.devnet.provider.conftest import BOUND_S, client_of, until
from tests.devnet.provider.test_answers import BODY, HELLO, said

ROOT = Path(__file__).parents[3]
STREAMS = 1_000


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`python -m devnet.provider` on a free port, with an option of each source, and what it printed."""
    argv = [sys.executable, "-m", "devnet.provider", "--port", "0", "--json", "--model", "one", "--model", "two"]
    environment = {**os.environ, "FORMSTATE_PROVIDER_COMPLETION_TOKENS": "6"}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(BOUND_S)


async def test_requests_are_counted_and_logged(
    provider: Running, client: AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    """Counts say how each request ended; the log has its model, headers of interest, tokens and times."""
    await client.chat.completions.create(model="fs-basic", messages=HELLO)
    async with http.post("/v1/chat/completions", json={}), http.post("/v1/chat/completions", json=BODY):
        pass
    await until(lambda: provider.ledger.counts.open == 0)
    async with http.get("/_control/requests") as response:
        seen = await response.json()
    counts = {name: seen[name] for name in ("started", "finished", "completed", "refused", "open")}
    assert counts == {"started": 3, "finished": 3, "completed": 2, "refused": 1, "open": 0}
    assert seen["tokens_sent"] == 64
    first = seen["log"][0]
    assert (first["model"], first["ended"], first["status"], first["tokens_sent"]) == (
        "fs-basic",
        "completed",
        200,
        32,
    )
    assert first["headers"]["user-agent"].startswith("AsyncOpenAI")
    assert first["authorization_sha256"] == hashlib.sha256(b"Bearer test").hexdigest()
    assert first["started_s"] <= first["first_byte_s"] <= first["ended_s"] <= seen["now_s"]


async def test_the_log_is_bounded_and_can_be_reset() -> None:
    """Only the last requests are kept; a reset counts from what is open."""
    async with (
        running(ProviderOptions(log_size_max=2)) as provider,
        aiohttp.ClientSession(provider.url) as http,
    ):
        for _ in range(5):
            async with http.post("/v1/chat/completions", json=BODY) as response:
                assert response.status == 200
        async with http.get("/_control/requests", params={"limit": "9"}) as response:
            assert [entry["number"] for entry in (await response.json())["log"]] == [4, 5]
        async with http.delete("/_control/requests") as response:
            assert (await response.json())["started"] == 0


async def test_options_change_at_run_time(client: AsyncOpenAI, http: aiohttp.ClientSession) -> None:
    """New options hold from the next request on; wrong ones change nothing and say what is wrong."""
    async with http.post("/_control/options", json={"completion_tokens": 4, "api_key": ""}) as response:
        assert (await response.json())["completion_tokens"] == 4
    wrongs: list[object] = [{"fail": "softly"}, {"latency_ms": -1}, {"colour": "red"}, []]
    for wrong in wrongs:
        async with http.post("/_control/options", json=wrong) as response:
            assert response.status == 400
    answer = await client.chat.completions.create(model="fs-basic", messages=HELLO)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


async def test_a_key_is_not_shown(provider: Running, http: aiohttp.ClientSession) -> None:
    """The options tell that a key is set, not which."""
    async with http.post("/_control/options", json={"api_key": "very-secret"}) as response:
        assert (await response.json())["api_key"] == "set"
    async with http.post("/v1/chat/completions", headers={"authorization": "Bearer very-secret"}, json=BODY):
        pass
    assert "very-secret" not in str(provider.ledger.view(10))


async def test_it_stops_while_requests_are_open(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving the block ends open streams and hanging requests at once, and nobody logs an error for it."""
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(running())
        async with client_of(provider) as client:
            request: dict[str, Any] = {"model": "fs-basic", "stream": True}
            stream = await client.chat.completions.create(messages=said("[[fail=hang-mid-stream]]"), **request)
            hanging = asyncio.ensure_future(client.chat.completions.create(messages=said("[[fail=hang]]"), **request))
            await until(lambda: provider.ledger.counts.open == 2)
            await stack.aclose()
            assert provider.ledger.counts.open == 0
            with pytest.raises(openai.APIConnectionError):
                await hanging
            await stream.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_it_runs_as_a_process_of_its_own(process: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    """It prints its address, takes options from command line and environment, and answers the SDK."""
    _, printed = process
    assert printed["models"] == ["one", "two"]
    with OpenAI(base_url=printed["base_url"], api_key="any", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["one", "two"]
        answer = client.chat.completions.create(model="two", messages=HELLO)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6


@pytest.mark.parametrize("argument", ["--fail=softly", "--latency-ms=soon", "--completion-tokens=-1"])
def test_a_wrong_option_stops_it_at_once(argument: str) -> None:
    """The error names the option, and the status is that of wrong usage."""
    argv = [sys.executable, "-m", "devnet.provider", "--port", "0", argument]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert ended.returncode == 2
    assert argument.partition("=")[0].removeprefix("--").replace("-", "_") in ended.stderr


def test_help_teaches() -> None:
    """`--help` shows the directives, the headers and the control routes."""
    argv = [sys.executable, "-m", "devnet.provider", "--help"]
    shown = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S, check=True).stdout
    for taught in ("[[fail=mid-stream]]", "X-Provider-Latency-Ms", "/_control/options", "hang-mid-stream"):
        assert taught in shown


async def test_a_thousand_slow_streams_at_once(
    process: tuple[subprocess.Popen[str], dict[str, Any]],
) -> None:
    """All are open together, each goes on, and when the clients leave all are noticed."""
    _, printed = process
    body = {"model": "one", "stream": True, "messages": said("[[tokens=1000]] [[tps=2]]")}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(printed["url"], timeout=timeout) as control:
        async with aiohttp.ClientSession(printed["url"], connector=connector, timeout=timeout) as http:

            async def third_token() -> aiohttp.ClientResponse:
                response = await http.post("/v1/chat/completions", json=body)
                for _ in range(2 * (1 + 3)):  # each event is a line and an empty one
                    await response.content.readline()
                return response

            responses = await asyncio.gather(*[third_token() for _ in range(STREAMS)])
            assert (await counts(control))["open_streams"] == STREAMS
            for response in responses:
                response.close()
        async with asyncio.timeout(BOUND_S):
            while (await counts(control))["client_cancelled"] < STREAMS:
                await asyncio.sleep(0.01)


async def counts(http: aiohttp.ClientSession) -> dict[str, Any]:
    """The counts without the log."""
    async with http.get("/_control/requests", params={"limit": "0"}) as response:
        seen: dict[str, Any] = await response.json()
        return seen
