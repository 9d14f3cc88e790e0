"""`python -m api` as an operator runs it: what stops it, what it waits for, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from devnet.scratch import free_port
from devnet.servers import unique_topic
from tests.api.test_settings import GOOD, secret

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
STOPS_S = 20.0
NOBODY = "127.0.0.1:1"


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The process's environment: ours without our own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FORMSTATE_")} | dict(settings)


def run(*arguments: str, settings: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `python -m api` until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(settings or {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Api:
    """A running process and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, http: aiohttp.ClientSession) -> None:
        self.process = process
        self.url = url
        self._http = http

    async def ask(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        async with self._http.get(self.url + path) as response:
            return response.status, await response.json()

    async def answers(self, path: str, status: int) -> Any:
        """Asks until the status is the wanted one, with a bound."""
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    found, body = await self.ask(path)
                except aiohttp.ClientConnectionError:
                    assert self.process.returncode is None
                else:
                    if found == status:
                        return body
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOPS_S):
            return await self.process.wait()


@asynccontextmanager
async def started(settings: Mapping[str, str], log: Path) -> AsyncIterator[Api]:
    """The process, killed afterwards if it still runs."""
    port = free_port()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api"),
            env=environment({**settings, "FORMSTATE_PORT": str(port)}),
            cwd=ROOT,
            stderr=output,
        )
    try:
        async with aiohttp.ClientSession() as http:
            yield Api(process, f"http://127.0.0.1:{port}", http)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_without_settings_it_names_them_all() -> None:
    """A process without settings ends at once with every variable, what is expected, and an example."""
    ended = run()
    assert ended.returncode == 2
    assert ended.stderr.count("is missing") == 5
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "JWT_SECRETS", "API_KEY_PEPPERS", "MASTER_KEYS"):
        assert f"FORMSTATE_{name} is missing: expected" in ended.stderr


def test_check_tells_whether_settings_are_usable() -> None:
    """`--check` reads settings and files, and starts nothing."""
    assert run("--check", settings=GOOD).returncode == 0
    ended = run("--check", settings=GOOD | {"FORMSTATE_PORT": "many"})
    assert (ended.returncode, "FORMSTATE_PORT is 'many'" in ended.stderr) == (2, True)


def test_a_bad_file_stops_the_start(tmp_path: Path) -> None:
    """A models or issuers file with a mistake is told by its place in it."""
    for variable, text in (("MODELS_FILE", "[models.x]\nprice = 3\n"), ("ISSUERS_FILE", "[issuers.x]\niss = 3\n")):
        file = tmp_path / "file.toml"
        file.write_text(text)
        ended = run(settings=GOOD | {f"FORMSTATE_{variable}": str(file)})
        assert ended.returncode == 2
        assert f"{file}:2: " in ended.stderr or variable == "MODELS_FILE"
        assert str(file) in ended.stderr


def test_the_port_that_is_taken_is_the_one_that_is_told() -> None:
    """That of /metrics, where it is that one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for ports in ({"PORT": port}, {"PORT": "0", "METRICS_PORT": port}):
            ended = run(settings=GOOD | {f"FORMSTATE_{name}": value for name, value in ports.items()})
            assert (ended.returncode, f"cannot listen on 127.0.0.1 port {port}" in ended.stderr) == (1, True)


def test_help_teaches() -> None:
    """`--help` names every setting that is needed and how to make a secret."""
    told = run("--help").stdout
    for word in ("DATABASE_URL", "MASTER_KEYS", "openssl rand", "worker migrate"):
        assert word in told


def generous(folder: Path) -> Path:
    """An issuers file whose issuer may make admins: nothing to be done by mistake."""
    file = folder / "issuers.toml"
    table = {"iss": "x", "jwks_url": f"http://{NOBODY}/jwks.json", "audience": "a", "algorithm": "RS256"}
    lines = [f'{key} = "{value}"' for key, value in {**table, "max_role": "admin"}.items()]
    file.write_text("\n".join(["[issuers.acme]", *lines]))
    return file


async def test_answers_while_its_dependencies_are_away(tmp_path: Path) -> None:
    """With nothing to connect to it lives, is not ready and says why, and refuses everything else for now."""
    metrics_port = free_port()
    settings = GOOD | {
        "FORMSTATE_METRICS_PORT": str(metrics_port),
        "FORMSTATE_DATABASE_URL": f"postgresql://nobody@{NOBODY}/none",
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": NOBODY,
        "FORMSTATE_ISSUERS_FILE": str(generous(tmp_path)),
    }
    log = tmp_path / "api.log"
    async with started(settings, log) as api:
        assert (await api.answers("/health", 200))["mode"] == "production"
        readiness = await api.answers("/ready", 503)
        assert readiness["status"] == "not_ready"
        assert readiness["dependencies"]["postgres"]["ok"] is False
        status, body = await api.ask("/users/me")
        assert (status, body["error"]["code"]) == (503, "starting")
        assert (await api.ask("/openapi.json"))[0] == 200
        assert (await api.ask("/metrics"))[0] == 404
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{metrics_port}/metrics") as response:
            assert "formstate_http_answers_total" in await response.text()
        async with asyncio.timeout(READY_S):
            while "dependency_unreachable" not in log.read_text():
                await asyncio.sleep(0.05)
        assert "issuer_may_make_admins" in log.read_text()
        assert await api.stop() == 0


def migrate(settings: Mapping[str, str]) -> None:
    """`python -m worker migrate` on the same settings."""
    subprocess.run(
        [sys.executable, "-m", "worker", "migrate"],
        env=environment({**settings, "FORMSTATE_LOG_MAC_KEYS": secret("mac")}),
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def settings(database_url: str, kafka: str) -> dict[str, str]:
    """Settings for an empty database and a topic of its own."""
    return GOOD | {
        "FORMSTATE_DATABASE_URL": database_url,
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "FORMSTATE_KAFKA_TOPIC": unique_topic(),
    }


async def test_waits_for_the_migration(settings: dict[str, str], tmp_path: Path) -> None:
    """Before `migrate` it says that it is needed; after it, it is ready by itself, and ends cleanly when asked to."""
    async with started(settings, tmp_path / "api.log") as api:
        await api.answers("/ready", 503)
        async with asyncio.timeout(READY_S):
            while "migrate" not in str(await api.ask("/ready")):
                await asyncio.sleep(0.05)
        await asyncio.to_thread(migrate, settings)
        readiness = await api.answers("/ready", 200)
        assert {name: each["ok"] for name, each in readiness["dependencies"].items()} == {
            "postgres": True,
            "kafka": True,
            "rate_limits": True,
            "read_models": True,
        }
        assert (await api.ask("/users/me"))[1]["error"]["code"] == "missing_credentials"
        assert await api.stop() == 0


async def test_waits_for_a_rebuild(settings: dict[str, str], tmp_path: Path) -> None:
    """A read model of another release is named with the command that makes it; also where that comes later."""
    await asyncio.to_thread(migrate, settings)
    connection = await asyncpg.connect(settings["FORMSTATE_DATABASE_URL"])
    version = "UPDATE read_models SET version = version + $1 WHERE collection = 'users'"
    try:
        await connection.execute(version, 1)
        async with started(settings, tmp_path / "api.log") as api:
            async with asyncio.timeout(READY_S):
                while "python -m worker rebuild users" not in str(await api.answers("/ready", 503)):
                    await asyncio.sleep(0.05)
            assert (await api.ask("/users/me"))[0] == 503
            await connection.execute(version, -1)
            await api.answers("/ready", 200)
            await connection.execute(version, 1)
            readiness = await api.answers("/ready", 503)
            assert "python -m worker rebuild users" in readiness["dependencies"]["read_models"]["reason"]
    finally:
        await connection.close()


async def test_another_master_key_ends_the_process(settings: dict[str, str], tmp_path: Path) -> None:
    """A process whose master key opens nothing ends and says so: waiting would not help."""
    await asyncio.to_thread(migrate, settings)
    async with started(settings, tmp_path / "first.log") as api:
        await api.answers("/ready", 200)
    wrong = settings | {"FORMSTATE_MASTER_KEYS": secret("other")}
    log = tmp_path / "second.log"
    async with started(wrong, log) as api, asyncio.timeout(READY_S):
        assert await api.process.wait() == 1
    assert "process_cannot_start" in log.read_text()
    assert "MASTER_KEYS" in log.read_text()
