"""`python -m devnet.stack`: the production topology on one machine, with a real Kafka and a real PostgreSQL."""

import argparse
import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import structlog

from api.server import listening_socket
from api.toml_file import BadFile
from devnet.arguments import PORT_MAX, Common, common, common_parser
from devnet.child import descendants, spawn
from devnet.issuer import IssuerOptions, write_issuers_file
from devnet.issuer.example_tokens import issue
from devnet.local_model import MODEL, START_S, answers, model_file
from devnet.mailbox import mailbox
from devnet.models_file import UPSTREAM_KEY_ENV, local_upstream, write_models
from devnet.printout import show
from devnet.scratch import ServerStartError, ServerUnavailableError, free_port, scratch_folder
from devnet.seed import SeedError, seed, wait_until_ready
from devnet.servers import KafkaServer, PostgresServer, create_database
from devnet.supervisor import KeepingFailed, Supervised, keep_until
from domain.user import Role
from telemetry import logs
from telemetry.known_settings import warn_of_unknown
from worker.stopping import stop_signals

log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 15.0
LOCAL_MODEL = "local-model"
Server: TypeAlias = PostgresServer | KafkaServer
P = ParamSpec("P")
T = TypeVar("T")

EPILOG = """\
examples:
  make stack
  make stack ARGS="--api 2 --worker 2 --port 8000"
  make stack ARGS="--local-model --json"

Data and secrets are new each time and gone at the end. Logs of all processes go to standard error, and mails with
them, unless FORMSTATE_MAILER_URL names a mailer.

Payments and notices: FORMSTATE_BILLING_PROVIDER, FORMSTATE_WEBHOOK_URL and what goes with them are read from the
environment, as in production (docs/operating.md).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = common_parser("python -m devnet.stack", __doc__, EPILOG)
    words.add_argument(
        "--api", type=int, default=1, metavar="N", help="API processes, on the port and the next ones (default: 1)"
    )
    words.add_argument("--worker", type=int, default=1, metavar="N", help="worker processes (default: 1)")
    return words


class Stack:
    """Everything that was started, in order, so that it can be stopped in the other order."""

    def __init__(self, folder: Path, chosen: Common, apis: int, workers: int, mailer: Mapping[str, str]) -> None:
        self._folder = folder
        self._mailer = mailer
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
        self.issuer_url: str | None = None
        self.environment: dict[str, str] = {}
        self._blocking_work: set[asyncio.Future[Any]] = set()

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
        """Starts everything and returns when it is ready. `OSError` before that where an API's port is taken."""
        self._require_ports()
        if self._chosen.local_model:
            model_file()
        log.info("stack_starting", postgres=self.servers["postgres"].port, kafka=self.servers["kafka"].port)
        await asyncio.gather(*(self._blocking(server.start) for server in self.servers.values()))
        postgres, kafka = self.servers["postgres"], self.servers["kafka"]
        assert isinstance(postgres, PostgresServer)
        assert isinstance(kafka, KafkaServer)
        database_url = await create_database(postgres.url)
        provider_port, model_port = free_port(), free_port()
        models_file = self._models(provider_port, model_port)
        environment = _environment(database_url, kafka.bootstrap_servers, models_file, self._chosen)
        self.environment = environment | dict(self._mailer)
        self._start_issuer()
        await self._once([sys.executable, "-m", "worker", "migrate"])
        self._run("provider", ["devnet.provider", "--port", str(provider_port)])
        if self._chosen.local_model:
            self._run(LOCAL_MODEL, ["devnet.local_model", "--port", str(model_port)])
        for number in range(self._workers):
            self._run(f"worker-{number + 1}", ["worker", "run"])
        for number, port in enumerate(self.ports):
            self._run(f"api-{number + 1}", ["api"], {"FORMSTATE_PORT": str(port)})
        await self._ready(model_port if self._chosen.local_model else None)

    def _require_ports(self) -> None:
        """What listens on a port already is a stranger, and would be taken for one of ours."""
        for port in self.ports:
            try:
                listening_socket(self._chosen.host, port).close()
            except OSError as error:
                where = f"{self._chosen.host} port {port}"
                raise OSError(f"cannot listen on {where}: {error.strerror}; --port takes another") from error

    async def _blocking(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Runs `work` in a thread, which goes on when we are cancelled: `stop` waits for it."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *args, **words))
        self._blocking_work.add(running)
        running.add_done_callback(self._blocking_work.discard)
        return await asyncio.shield(running)

    async def _ready(self, model_port: int | None) -> None:
        """Waits for every API; `ServerStartError` names a process that ends instead of starting."""
        waits = [wait_until_ready(url) for url in self.urls]
        ready = asyncio.gather(*waits, *([self._model_ready(model_port)] if model_port else []))
        try:
            while not ready.done():
                await asyncio.wait([ready], timeout=0.1)
                ended = [each.name for each in self.processes if each.exit_code is not None]
                if ended:
                    raise ServerStartError(f"{', '.join(ended)} ended while starting: see what it said above")
            ready.result()
        finally:
            ready.cancel()
            with contextlib.suppress(asyncio.CancelledError, SeedError, ServerStartError):
                await ready

    async def _model_ready(self, port: int) -> None:
        end = time.monotonic() + START_S
        while not await self._blocking(answers, port):
            if time.monotonic() > end:
                raise ServerStartError(f"the local model did not answer within {START_S:.0f} s")
            await asyncio.sleep(0.1)

    def _models(self, provider_port: int, model_port: int) -> Path:
        upstreams = [self._chosen.upstream] if self._chosen.upstream else []
        if self._chosen.local_model:
            upstreams.append(local_upstream(f"http://127.0.0.1:{model_port}/v1", MODEL))
        path = self._folder / "models.toml"
        self.models = list(write_models(path, f"http://127.0.0.1:{provider_port}/v1", upstreams))
        return path

    def _start_issuer(self) -> None:
        if self._chosen.issued is None:
            return
        port = free_port()
        self.issuer_url = f"http://127.0.0.1:{port}"
        path = self._folder / "issuers.toml"
        write_issuers_file(path, self.issuer_url, IssuerOptions().algorithm)
        self.environment["FORMSTATE_ISSUERS_FILE"] = str(path)
        self._run("issuer", ["devnet.issuer", "--port", str(port)])

    def _run(self, name: str, module: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
        environment = self.environment | dict(extra or {})
        self.processes.append(Supervised(name, _starter(module, environment)))

    async def _once(self, argv: Sequence[str]) -> None:
        process = await self._blocking(
            subprocess.run, argv, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise ServerStartError(f"{' '.join(argv[1:])} failed:\n{process.stdout}{process.stderr}")

    async def grant_role(self, user_id: str, role: Role) -> None:
        """Gives a seeded user a role, as an operator would."""
        await self._once([sys.executable, "-m", "worker", "grant-role", user_id, role])

    async def keep(self, stopping: asyncio.Event) -> None:
        """Starts again whatever ends, until told to stop. `KeepingFailed` when something cannot be started."""
        servers = [self._keep_server(name, server) for name, server in self.servers.items()]
        await keep_until(stopping, [*(process.keep() for process in self.processes), *servers])

    async def _keep_server(self, name: str, server: Server) -> None:
        while True:
            await asyncio.sleep(0.2)
            if not server.is_running:
                log.warning("server_died", server=name)
                await self._blocking(server.kill)
                await self._blocking(server.start)
                log.info("server_started", server=name, pid=server.pid)

    async def stop(self) -> None:
        """Stops the processes, then the servers; nothing is left behind.

        What is only just starting is of no use to anybody: it is ended, not waited for.
        """
        while self._blocking_work:
            _kill_descendants()
            await asyncio.wait(self._blocking_work, timeout=0.1)
        await asyncio.gather(*(asyncio.to_thread(each.stop, STOP_S) for each in reversed(self.processes)))
        await asyncio.gather(*(asyncio.to_thread(_stop_server, server) for server in self.servers.values()))


def _kill_descendants() -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _starter(module: Sequence[str], environment: Mapping[str, str]) -> Callable[[], subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", *module]
    return lambda: spawn(argv, env=environment, cwd=ROOT)


def _stop_server(server: Server) -> None:
    if server.is_running:
        server.stop()
    else:
        server.kill()


def _secret(value: bytes) -> str:
    return f"stack:{base64.b64encode(value).decode()}"


async def _mailer(stack: AsyncExitStack) -> dict[str, str]:
    """What tells the APIs of a mailer that prints; nothing where the environment names one."""
    if os.environ.get("FORMSTATE_MAILER_URL"):
        return {}
    secret = secrets.token_bytes(32)
    url = await stack.enter_async_context(mailbox(secret))
    return {"FORMSTATE_MAILER_URL": url, "FORMSTATE_MAILER_SECRET": _secret(secret)}


def _environment(database_url: str, kafka: str, models_file: Path, chosen: Common) -> dict[str, str]:
    environment = dict(os.environ) | {
        "FORMSTATE_DATABASE_URL": database_url,
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "FORMSTATE_MODELS_FILE": str(models_file),
        "FORMSTATE_HOST": chosen.host,
        "FORMSTATE_LOG_LEVEL": chosen.log_level,
        "FORMSTATE_LIMITS": "on" if chosen.limits else "off",
    }
    for name in ("JWT_SECRETS", "API_KEY_PEPPERS", "LOG_MAC_KEYS", "MASTER_KEYS"):
        environment[f"FORMSTATE_{name}"] = _secret(secrets.token_bytes(32))
    if chosen.plans_file is not None:
        environment["FORMSTATE_PLANS_FILE"] = str(chosen.plans_file)
    if chosen.upstream and chosen.upstream.api_key:
        environment[UPSTREAM_KEY_ENV] = chosen.upstream.api_key
    return environment


async def run(chosen: Common, apis: int, workers: int) -> None:
    """Runs the stack until SIGINT or SIGTERM; a second one kills all of it. `KeepingFailed` if it cannot go on."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder("stack"))
        stopping = stop_signals(lambda number: _end_at_once(number, folder))
        running = Stack(folder, chosen, apis, workers, await _mailer(stack))
        stack.push_async_callback(running.stop)
        stop = asyncio.create_task(stopping.wait())
        up = asyncio.create_task(_come_up(running, chosen))
        await asyncio.wait([stop, up], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not up.done():
            log.info("stack_stopping", while_starting=True)
            up.cancel()
            await asyncio.wait([up])
            return
        up.result()
        await running.keep(stopping)
        log.info("stack_stopping")


def _end_at_once(number: int, folder: Path) -> None:
    """Kills everything below this process, and ends it without waiting for anything."""
    _kill_descendants()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(128 + number)


async def _come_up(running: Stack, chosen: Common) -> None:
    await running.start()
    seeded = await seed(running.urls[0], running.grant_role, chosen.people)
    issued = await issue(running.issuer_url, chosen.issued or ()) if running.issuer_url else None
    show(
        mode="production",
        urls=running.urls,
        models=running.models,
        pids=running.pids,
        seeded=seeded,
        issued=issued,
        as_json=chosen.json,
    )


def main() -> int:
    """Runs the stack; 0 after Ctrl-C, 1 when it could not start."""
    words = parser()
    given = words.parse_args()
    if min(given.api, given.worker) < 1:
        words.error("--api and --worker are at least 1")
    chosen = common(words, given)
    if chosen.port + given.api - 1 > PORT_MAX:
        words.error(f"--port {chosen.port} leaves no ports for --api {given.api}: the last one is {PORT_MAX}")
    logs.configure(chosen.log_level, process="stack")
    warn_of_unknown(os.environ)
    try:
        asyncio.run(run(chosen, given.api, given.worker))
    except (ServerStartError, ServerUnavailableError, KeepingFailed, SeedError, BadFile, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
