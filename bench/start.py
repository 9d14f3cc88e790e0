"""How long a process takes from its start to its first answer to a request with credentials."""

import asyncio
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import psutil

from bench.benchmark import Bench, Benchmark
from bench.deployment import Deployment, deployed, provider
from bench.processes import ROOT, STOP_S
from bench.row import Row, held
from devnet.scratch import free_port

ANSWER_S, PRINTOUT_S = 1.5, 2.0
POLL_S = 0.005
TIMEOUT_S = 60.0


async def measure(bench: Bench) -> Sequence[Row]:
    """Devnet to an answer and to its printout, and a second API process beside a stack's first."""
    answers, printouts = [], []
    for _ in range(bench.repeats):
        answer, printout = await _devnet_s()
        answers.append(answer)
        printouts.append(printout)
    async with provider() as (provider_url, _), deployed("stack", provider_url) as product:
        api = [await _api_s(product) for _ in range(bench.repeats)]
    return [
        _row("devnet", answers, ANSWER_S),
        _row("devnet printout", printouts, PRINTOUT_S),
        _row("api", api, ANSWER_S),
    ]


def _row(name: str, took: Sequence[float], target: float) -> Row:
    return held(f"start {name}", statistics.median(took), "s", target=target, better="low")


async def _devnet_s() -> tuple[float, float]:
    """Seconds to the first answer, and to the printout with tokens of accounts that were made meanwhile."""
    port = free_port()
    began = time.perf_counter()
    process = await _started(["devnet", "--port", str(port), "--json", "--log-level", "error"])
    try:
        await _until_status(port, "/health", "", b"200")
        answered = time.perf_counter() - began
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            assert await process.stdout.readline(), "devnet ended before it was ready"
        return answered, time.perf_counter() - began
    finally:
        await _stop(process)


async def _api_s(product: Deployment) -> float:
    """Seconds to an answer from the read models: Kafka and PostgreSQL have been reached by then."""
    port = free_port()
    env = psutil.Process(product.api_pid).environ() | {"FORMSTATE_PORT": str(port)}
    began = time.perf_counter()
    process = await _started(["api"], env)
    try:
        await _until_status(port, "/billing/credits", product.api_key, b"200")
        return time.perf_counter() - began
    finally:
        await _stop(process)


async def _started(module: Sequence[str], env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=env
    )


async def _until_status(port: int, path: str, key: str, status: bytes) -> None:
    """Asks, each time on a connection of its own, until the answer has the status."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode()
    async with asyncio.timeout(TIMEOUT_S):
        while await _status(port, request) != status:
            await asyncio.sleep(POLL_S)


async def _status(port: int, request: bytes) -> bytes:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return b""
    try:
        writer.write(request)
        return (await reader.readline())[9:12]
    finally:
        writer.close()


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


BENCHMARK = Benchmark(name="start", summary="from a process's start to its first answer", measure=measure)
