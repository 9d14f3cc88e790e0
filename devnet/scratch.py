"""Where throw-away servers live: the cache that stays, scratch folders that do not, free ports."""

import contextlib
import fcntl
import os
import random
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "form-state-"
# A scratch folder younger than this may not have been locked by its owner yet.
_YOUNG_S = 60


class ServerUnavailableError(RuntimeError):
    """A server cannot be had on this machine; the message says why and what would help."""


class ServerStartError(RuntimeError):
    """A server did not come up in time; the message names its log file."""


def cache_folder() -> Path:
    """The folder for what is fetched or built once: XDG_CACHE_HOME, or ~/.cache, or as root /var/cache.

    PostgreSQL does not run as root, so as root the folder must be reachable by everybody, which root's home
    mostly is not.
    """
    places = [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")]
    if os.geteuid() == 0:
        places = [place for place in [*places, Path("/var/cache")] if is_public(place)]
    for place in places:
        with contextlib.suppress(OSError):
            (place / "form-state").mkdir(parents=True, exist_ok=True, mode=0o755)
            return place / "form-state"
    raise ServerUnavailableError("no cache folder can be written: set XDG_CACHE_HOME to one")


def is_public(folder: Path) -> bool:
    """Whether every user may enter the folder and all above it. What does not exist yet does not hinder."""
    absolute = folder.absolute()
    return all(
        stat.S_IMODE(place.stat().st_mode) & stat.S_IXOTH for place in [absolute, *absolute.parents] if place.exists()
    )


@contextlib.contextmanager
def scratch_folder(name: str = "") -> Iterator[Path]:
    """A new folder that any user may enter, removed at the end.

    Unlike pytest's `tmp_path` it can hold PostgreSQL's data as root. Folders left by a killed process are
    removed by the next caller: a living owner holds a lock on its folder, the kernel lets go of a dead one's.
    """
    root = Path(tempfile.gettempdir())
    _remove_abandoned(root)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-" if name else _PREFIX, dir=root))
    with (folder / ".owner").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        folder.chmod(0o711)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two processes do not fill the cache at once; waits for it."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A free loopback port outside the range from which the kernel picks clients' ports.

    In that range a client that redials a stopped server could be given the server's own port, and so keep it
    from starting again.
    """
    chooser = random.SystemRandom()
    for _ in range(200):
        port = chooser.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerUnavailableError("no free port between 15000 and 32000")


def log_tail(log: Path) -> str:
    """The last five lines of a log, each on a line of its own; nothing if it cannot be read."""
    try:
        return "".join(f"\n  {line}" for line in log.read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _YOUNG_S or folder.stat().st_uid != os.geteuid():
                continue
            with (folder / ".owner").open("a") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
