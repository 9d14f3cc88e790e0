"""`python -m devnet.stack`: the production topology on one machine, with a real Kafka and a real PostgreSQL."""

import argparse
import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import structlog

from api.toml_file import BadFile
from devnet.arguments import Common, add_common, common
from devnet.child import spawn
from devnet.local_model import LocalModel, start_local_model
from devnet.models_file import UPSTREAM_KEY_ENV, local_upstream, write_models
from devnet.printout import show
from devnet.scratch import ServerStartError, ServerUnavailableError, free_port, scratch_folder
from devnet.seed import SeedError, seed, wait_until_ready
from devnet.servers import KafkaServer, PostgresServer, create_database
from devnet.supervisor import Supervised
from telemetry import logs

log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 15.0
Server: TypeAlias = PostgresServer | KafkaServer

EPILOG = """\
examples:
  make stack
  make stack ARGS="--api 2 --worker 2 --port 8000"
  make stack ARGS="--local-model --json"

Data and secrets are new each time and gone at the end. Logs of all processes go to standard error.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="python -m devnet.stack",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(words)
    words.add_argument("--api", type=int, default=1, metavar="N", help="API processes, on the port and the next ones")
    words.add_argument("--worker", type=int, default=1, metavar="N", help="worker processes")
    return words


class Stack:
    """Everything that was started, in order, so that it can be stopped in the other order."""

    def __init__(self, folder: Path, chosen: Common, apis: int, workers: int) -> None:
        self._folder = folder
        self._chosen = chosen
        self._workers = workers
        first = chosen.port
        self.ports = [free_port() if first == 0 else first + number for number in range(apis)]
        self.servers: dict[str, Server] = {
            "postgres": PostgresServer(folder / "postgres"),
            "kafka": KafkaServer(folder / "kafka"),
        }
        self.processes: list[Supervised] = []
        self.models: list[str] = []
        self.environment: dict[str, str] = {}
        self._local_model: LocalModel | None = None

    @property
    def urls(self) -> list[str]:
        """The addresses of the API processes."""
        return [f"http://{self._chosen.host}:{port}" for port in self.ports]

    @property
    def pids(self) -> dict[str, int]:
        """The pids of all processes as they run now."""
        return {name: server.pid for name, server in self.servers.items()} | {
            each.name: each.pid for each in self.processes
        }

    async def start(self) -> None:
        """Starts everything and returns when it is ready."""
        log.info("stack_starting", postgres=self.servers["postgres"].port, kafka=self.servers["kafka"].port)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers.values()))
        postgres, kafka = self.servers["postgres"], self.servers["kafka"]
        assert isinstance(postgres, PostgresServer)
        assert isinstance(kafka, KafkaServer)
        database_url = await create_database(postgres.url)
        provider_port = free_port()
        models_file = await self._models(f"http://127.0.0.1:{provider_port}/v1")
        self.environment = _environment(database_url, kafka.bootstrap_servers, models_file, self._chosen)
        await self._once([sys.executable, "-m", "worker", "migrate"])
        self._run("provider", ["devnet.provider", "--port", str(provider_port)])
        for number in range(self._workers):
            self._run(f"worker-{number + 1}", ["worker", "run"])
        for number, port in enumerate(self.ports):
            self._run(f"api-{number + 1}", ["api"], {"FORMSTATE_PORT": str(port)})
        await self._ready()

    async def _ready(self) -> None:
        """Waits for every API; `ServerStartError` names a process that ends instead of starting."""
        ready = asyncio.gather(*(wait_until_ready(url) for url in self.urls))
        try:
            while not ready.done():
                await asyncio.wait([ready], timeout=0.1)
                ended = [each.name for each in self.processes if each.exit_code is not None]
                if ended:
                    raise ServerStartError(f"{', '.join(ended)} ended while starting: see what it said above")
            ready.result()
        finally:
            ready.cancel()

    async def _models(self, provider_url: str) -> Path:
        upstreams = [self._chosen.upstream] if self._chosen.upstream else []
        if self._chosen.local_model:
            port = free_port()
            self._local_model = await asyncio.to_thread(start_local_model, port=port)
            upstreams.append(local_upstream(self._local_model.base_url, self._local_model.model))
        path = self._folder / "models.toml"
        self.models = list(write_models(path, provider_url, upstreams))
        return path

    def _run(self, name: str, module: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
        environment = self.environment | dict(extra or {})
        self.processes.append(Supervised(name, _starter(module, environment)))

    async def _once(self, argv: Sequence[str]) -> None:
        process = await asyncio.to_thread(
            subprocess.run, argv, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise ServerStartError(f"{' '.join(argv[1:])} failed:\n{process.stdout}{process.stderr}")

    async def make_admin(self, user_id: str) -> None:
        """Gives a seeded user the role `admin`, as an operator would."""
        await self._once([sys.executable, "-m", "worker", "grant-role", user_id, "admin"])

    async def keep(self) -> None:
        """Starts again whatever ends; runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for process in self.processes:
                group.create_task(process.keep())
            for name, server in self.servers.items():
                group.create_task(_keep_server(name, server))

    async def stop(self) -> None:
        """Stops the processes, then the servers; nothing is left behind."""
        await asyncio.gather(*(asyncio.to_thread(each.stop, STOP_S) for each in reversed(self.processes)))
        if self._local_model is not None:
            await asyncio.to_thread(self._local_model.stop)
        await asyncio.gather(*(asyncio.to_thread(_stop_server, server) for server in self.servers.values()))


def _starter(module: Sequence[str], environment: Mapping[str, str]) -> Callable[[], subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", *module]
    return lambda: spawn(argv, env=environment, cwd=ROOT)


async def _keep_server(name: str, server: Server) -> None:
    while True:
        await asyncio.sleep(0.2)
        if not server.is_running:
            log.warning("server_died", server=name)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            log.info("server_started", server=name, pid=server.pid)


def _stop_server(server: Server) -> None:
    if server.is_running:
        server.stop()
    else:
        server.kill()


def _environment(database_url: str, kafka: str, models_file: Path, chosen: Common) -> dict[str, str]:
    def secret() -> str:
        return f"stack:{base64.b64encode(secrets.token_bytes(32)).decode()}"

    environment = dict(os.environ) | {
        "FORMSTATE_DATABASE_URL": database_url,
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "FORMSTATE_MODELS_FILE": str(models_file),
        "FORMSTATE_HOST": chosen.host,
        "FORMSTATE_LOG_LEVEL": chosen.log_level,
        "FORMSTATE_LIMITS": "on" if chosen.limits else "off",
    }
    for name in ("JWT_SECRETS", "API_KEY_PEPPERS", "LOG_MAC_KEYS", "MASTER_KEYS"):
        environment[f"FORMSTATE_{name}"] = secret()
    if chosen.upstream and chosen.upstream.api_key:
        environment[UPSTREAM_KEY_ENV] = chosen.upstream.api_key
    return environment


async def run(chosen: Common, apis: int, workers: int) -> None:
    """Runs the stack until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder("stack"))
        running = Stack(folder, chosen, apis, workers)
        stack.push_async_callback(running.stop)
        stop = asyncio.create_task(stopping.wait())
        up = asyncio.create_task(_come_up(running, chosen))
        await asyncio.wait([stop, up], return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            return
        up.result()
        keeper = asyncio.create_task(running.keep())
        await asyncio.wait([stop, keeper], return_when=asyncio.FIRST_COMPLETED)
        keeper.cancel()
        log.info("stack_stopping")


async def _come_up(running: Stack, chosen: Common) -> None:
    await running.start()
    seeded = await seed(running.urls[0], running.make_admin)
    show(
        mode="production",
        urls=running.urls,
        models=running.models,
        pids=running.pids,
        seeded=seeded,
        as_json=chosen.json,
    )


def main() -> int:
    """Runs the stack; 0 after Ctrl-C, 1 when it could not start."""
    words = parser()
    given = words.parse_args()
    if min(given.api, given.worker) < 1:
        words.error("--api and --worker are at least 1")
    chosen = common(words, given)
    logs.configure(chosen.log_level, process="stack")
    try:
        asyncio.run(run(chosen, given.api, given.worker))
    except (ServerStartError, ServerUnavailableError, SeedError, BadFile, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
