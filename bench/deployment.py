"""Whole deployments to put load on, started as people start them, with a provider in a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import aiohttp
import psutil
from msgspec import Struct

from bench.processes import ROOT, STOP_S
from devnet.scratch import free_port

Kind: TypeAlias = Literal["devnet", "stack"]

MODEL = "bench"
PLANS = ROOT / "bench" / "plans.toml"
"""Limits that are on, and that no load reaches."""
START_S = 120.0


class Deployment(Struct, frozen=True, kw_only=True):
    """A running product, and what is needed to call it."""

    port: int
    api_key: str
    user_token: str
    admin_token: str
    account_id: str
    pids: dict[str, int]

    @property
    def url(self) -> str:
        """The address of its first API process."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_pid(self) -> int:
        """The process that serves HTTP."""
        return self.pids.get("api-1") or self.pids["devnet"]

    def setting(self, name: str) -> str:
        """A variable of the process that serves HTTP."""
        return psutil.Process(self.api_pid).environ()[f"FORMSTATE_{name}"]


@asynccontextmanager
async def deployed(kind: Kind, provider_url: str, *more: str) -> AsyncIterator[Deployment]:
    """Devnet or the stack, with `MODEL` behind its gateway at `provider_url`, and `more` options."""
    module = "devnet" if kind == "devnet" else "devnet.stack"
    words = ["--port", "0", "--json", "--log-level", "error", "--upstream", provider_url, "--model", MODEL]
    words += ["--plans", str(PLANS)]
    async with _child([module, *words, *more]) as process:
        line = await _first_line(process)
        said = json.loads(line)
        yield Deployment(
            port=int(said["urls"][0].rpartition(":")[2]),
            api_key=said["api_key"],
            user_token=said["user_token"],
            admin_token=said["admin_token"],
            account_id=said["account_id"],
            pids=said["pids"],
        )


@asynccontextmanager
async def provider() -> AsyncIterator[tuple[str, int]]:
    """The base URL and the pid of a mock provider that answers at once."""
    async with _child(["devnet.provider", "--port", "0", "--json", "--model", MODEL, "--log-size-max", "0"]) as process:
        said = json.loads(await _first_line(process))
        yield said["base_url"], said["pid"]


@asynccontextmanager
async def pass_through(provider_url: str) -> AsyncIterator[tuple[int, int]]:
    """The port and the pid of a bare pass-through to the provider."""
    port = free_port()
    async with _child(["bench.pass_through", provider_url, str(port)]) as process:
        async with aiohttp.ClientSession() as http, asyncio.timeout(START_S):
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield port, process.pid


@asynccontextmanager
async def _child(module: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"FORMSTATE_ANONYMOUS_REQUESTS_PER_MINUTE": "1000000"},  # all come from one address
        limit=1 << 20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S * 2):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        line = await process.stdout.readline()
    assert line, "the process ended before it was ready"
    return line
