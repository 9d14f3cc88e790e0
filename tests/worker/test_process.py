"""`python -m worker run` as a process: wrong settings, servers that are away, and how it is stopped."""

import asyncio
import base64
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.crash.waiting import until_true
from tests.worker.operator.yard import migrated

GOOD = {
    "FORMSTATE_DATABASE_URL": "postgresql://nobody:none@127.0.0.1:1/none",
    "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "FORMSTATE_LOG_MAC_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
}
STOPPED_S = 10.0

_BUSY = """
import asyncio, time
from worker.stopping import stop_signals
async def main():
    asked = stop_signals()
    print("ready", flush=True)
    await asked.wait()
    print("asked", flush=True)
    time.sleep(300)
asyncio.run(main())
"""


def _environment(changes: dict[str, str]) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith("FORMSTATE_")}
    return {name: value for name, value in (rest | GOOD | changes).items() if value}


@asynccontextmanager
async def _worker(log: Path, **changes: str) -> AsyncIterator[Process]:
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "run", env=_environment(changes), stdin=DEVNULL, stdout=said, stderr=said
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    """Missing and malformed ones at once, each with its name; exit code 2, nothing is started."""
    wrong = {
        "FORMSTATE_DATABASE_URL": "",
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": "nowhere",
        "FORMSTATE_LOG_MAC_KEYS": "test:short",
        "FORMSTATE_WORKER_LANES": "many",
        "FORMSTATE_WORKER_METRICS_PORT": "0",
        "FORMSTATE_LOG_LEVEL": "loud",
    }
    log = tmp_path / "log"
    async with _worker(log, **wrong) as process, asyncio.timeout(30):
        assert await process.wait() == 2
    said = log.read_text("utf-8")
    assert [name for name in wrong if name not in said] == []
    assert "Traceback" not in said


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """The settings are named that say where to listen, and the worker ends instead of working unwatched."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with _worker(log, FORMSTATE_WORKER_METRICS_PORT=port) as process, asyncio.timeout(30):
            assert await process.wait() == 1
    said = log.read_text("utf-8")
    assert f"cannot listen on 127.0.0.1 port {port}, which FORMSTATE_WORKER_METRICS_HOST and _PORT name" in said
    assert "Traceback" not in said


async def _waits_and_stops(log: Path, **changes: str) -> None:
    async with _worker(log, **changes) as process:
        await until_true(lambda: log.read_text("utf-8").count('"worker_waits"') > 1, 30, "two warnings")
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOPPED_S):
            assert await process.wait() == 0


async def test_it_waits_for_postgres(tmp_path: Path) -> None:
    """A database that cannot be reached is told, again and again; meanwhile SIGTERM ends the worker with 0."""
    log = tmp_path / "log"
    await _waits_and_stops(log)
    assert '"dependency":"postgres"' in log.read_text("utf-8")


async def test_it_waits_for_kafka(database_url: str, tmp_path: Path) -> None:
    """The same with a database that is there, and a broker that is not."""
    await migrated(database_url)
    log = tmp_path / "log"
    await _waits_and_stops(log, FORMSTATE_DATABASE_URL=database_url)
    assert '"dependency":"kafka"' in log.read_text("utf-8")
    assert "127.0.0.1:1" in log.read_text("utf-8")


async def test_a_second_signal_ends_it_at_once() -> None:
    """Even where the event loop no longer comes round: the kernel does it."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _BUSY, stdin=DEVNULL, stdout=PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert await process.stdout.readline() == b"asked\n"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == -signal.SIGINT
