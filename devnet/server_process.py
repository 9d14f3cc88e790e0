"""What throw-away servers share: one process on a data folder, killed and started again on the same port and data."""

import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from devnet.child import kill_tree
from devnet.scratch import free_port

STOP_S = 20


class ServerProcess(ABC):
    """A server on loopback; subclasses say how it starts."""

    NAME: ClassVar[str]
    STOP_SIGNAL: ClassVar[signal.Signals]
    """Asks it to shut down cleanly at once."""

    def __init__(self, data: Path, port: int | None, log: str) -> None:
        """`log` is the file, in the data folder, of what it prints."""
        self.data = data.absolute()
        self.port = port or free_port()
        self.log = self.data / log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended since."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id, of the first process where there are several; RuntimeError when it is not running."""
        if self._child is None:
            raise RuntimeError(f"{self.NAME} is not running")
        return self._child.pid

    @abstractmethod
    def start(self) -> Self:
        """Starts it and waits until it serves."""

    def stop(self) -> None:
        """Ends all sessions and shuts down cleanly; killed if that takes longer. Nothing to do when stopped."""
        if self._child is None:
            return
        self._child.send_signal(self.STOP_SIGNAL)
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._child = None

    def kill(self) -> None:
        """Kills -9 the server and all it has started, as a crash would: nothing is flushed or shut down."""
        if self._child is not None:
            kill_tree(self._child)
            self._child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
