"""Processes of the product on a database and a topic of their own, started as an operator would."""

import base64
import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from devnet.child import is_running, spawn
from devnet.servers import unique_topic
from eventstore.codec import MacChain

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 16
STOP_S = 20.0


class Process:
    """One process with a log of its own; its end is known by its exit code."""

    def __init__(self, name: str, module: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._worker_name: str | None = None
        self._child = spawn([sys.executable, "-m", *module], log=self.log, env=environment, cwd=ROOT)

    @property
    def pid(self) -> int:
        """The process id, for as long as it lives."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet; a frozen process lives."""
        return self._child.poll() is None

    def kill(self) -> None:
        """Kill -9: no handler runs, nothing is flushed."""
        self._child.kill()
        self._child.wait(STOP_S)

    def stop(self) -> int:
        """SIGTERM, and the exit code once it has wound up."""
        self._child.terminate()
        return self._child.wait(STOP_S)

    def freeze(self) -> None:
        """SIGSTOP: the process stands still and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def client_ports(self) -> set[int]:
        """The local ports of its connections, by which servers name it."""
        with contextlib.suppress(psutil.Error):
            return {each.laddr.port for each in psutil.Process(self.pid).net_connections("tcp")}
        return set()

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.lines() if line.get("event") == event]

    @property
    def worker_name(self) -> str | None:
        """The name under which a worker holds leases; `None` until it has started."""
        if self._worker_name is None:
            self._worker_name = next((str(line["worker"]) for line in self.logged("worker_started")), None)
        return self._worker_name


class Deployment:
    """Settings that all processes share, and all processes that were started."""

    def __init__(self, folder: Path, *, database_url: str, kafka: str, shards: int = SHARDS) -> None:
        self.folder = folder
        self.database_url = database_url
        self.kafka = kafka
        self.topic = unique_topic()
        self.shards = shards
        self.processes: list[Process] = []
        self._numbers = itertools.count(1)
        self._mac_key = secrets.token_bytes(32)
        self.extra: dict[str, str] = {}
        """Settings of processes to come, on top of those that a worker needs."""

    @property
    def macs(self) -> MacChain:
        """The chain that the workers sign with."""
        return MacChain({"crash": self._mac_key})

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process."""
        return dict(os.environ) | {
            "FORMSTATE_DATABASE_URL": self.database_url,
            "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "FORMSTATE_KAFKA_TOPIC": self.topic,
            "FORMSTATE_LOG_MAC_KEYS": f"crash:{base64.b64encode(self._mac_key).decode()}",
            **self.extra,
        }

    def migrate(self) -> None:
        """Makes tables and topic."""
        self.operate("migrate", "--shards", str(self.shards))

    def operate(self, *words: str) -> str:
        """Runs an operator's command to its end and answers what it prints; `AssertionError` when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"worker {' '.join(words)} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, kind: str, *module: str, **settings: str) -> Process:
        """Starts `python -m module…`; the process is called `kind-<number>`. `settings` are its own variables."""
        process = Process(f"{kind}-{next(self._numbers)}", module, self.environment | settings, self.folder)
        self.processes.append(process)
        return process

    def start_worker(self) -> Process:
        """Starts a worker and does not wait for it."""
        return self.start("worker", "worker", "run")

    def workers(self) -> list[Process]:
        """The workers that live."""
        return [each for each in self.processes if each.name.startswith("worker") and each.alive]

    def end(self) -> None:
        """Kills whatever still runs, frozen or not."""
        for process in self.processes:
            if process.alive:
                process.kill()
            assert not is_running(process.pid), process.name

    def report(self) -> Iterator[str]:
        """The last lines of every log, for a test that has failed."""
        for process in self.processes:
            yield f"--- {process.name} ({'alive' if process.alive else 'ended'})"
            with contextlib.suppress(OSError):
                yield from process.log.read_text(errors="replace").splitlines()[-15:]
