"""Child processes that cannot outlive their parent, and that can be killed with all of theirs."""

import contextlib
import functools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

POLL_S = 0.02
KILL_S = 10
"""How long what was killed may take to be gone."""

# Runs between fork and the program: drops root, then asks the kernel (PR_SET_PDEATHSIG = 1) to signal this
# process when its parent dies, even by kill -9, where no handler of the parent could run. It is a program and
# not a `preexec_fn`, which may deadlock in a process with threads; and it asks after the change of user,
# because that change clears the request. The comparison catches a parent that died before the request.
_WRAPPER = """
import ctypes, os, pwd, sys
parent, death_signal, user, *argv = sys.argv[1:]
if user:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(death_signal))
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
os.execv(argv[0], argv)
"""


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str = "",
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a program that gets `death_signal` when this process ends, however it ends.

    Both outputs are appended to `log`, or go to standard error without one. `argv[0]` is a path. The child
    has a session of its own, so Ctrl-C reaches only the parent, which stops its children in its own order.
    It has no standard input. `user` (as root only) is whom it runs as.
    """
    wrapped = [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), str(int(death_signal)), user]
    wrapped += [str(part) for part in argv]

    def start() -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("ab")) if log else sys.stderr.fileno()
            return subprocess.Popen(
                wrapped,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(os.environ if env is None else env),
                cwd=cwd,
                start_new_session=True,
            )

    return _in_lasting_thread(start)


def kill_tree(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and all below it at once with SIGKILL, as a crash would, and wait until they are gone."""
    pids = descendants(child.pid) if child.poll() is None else []
    child.kill()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait(KILL_S)
    if not wait_until(lambda: not any(is_running(pid) for pid in pids), KILL_S):
        raise TimeoutError(f"killed processes did not end within {KILL_S} s: {pids}")


def comes_up(child: subprocess.Popen[bytes], is_ready: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until the child is ready; False when it ended instead, or was not in time.

    Then, and when the wait is interrupted, all of the child is killed: nobody has it in hand yet.
    """
    try:
        wait_until(lambda: is_ready() or child.poll() is not None, timeout_s)
        up = child.poll() is None and is_ready()
    except BaseException:
        kill_tree(child)
        raise
    if not up:
        kill_tree(child)
    return up


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until the condition holds; False when it did not within `timeout_s` seconds. Blocks the thread."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, nearest first; none where there is no /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        if (stat := _stat(int(entry.name))) is not None:
            children[int(stat[1])].append(int(entry.name))
    found = list(children[pid])
    for child in found:  # grows while it is read: breadth first
        found += children[child]
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie that nobody has waited for."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _stat(pid: int) -> list[str] | None:
    """State, parent and so on from /proc; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold anything, brackets and blanks too


Start = Callable[[], subprocess.Popen[bytes]]


def _in_lasting_thread(start: Start) -> subprocess.Popen[bytes]:
    """Call `start` in a thread that lives as long as this process.

    The kernel's "parent" is the thread that forked. Were it a thread of an event loop's pool, its end would
    kill the child, though the process lives on.
    """
    result: Future[subprocess.Popen[bytes]] = Future()
    _spawner().put((start, result))
    return result.result()


@functools.cache
def _spawner() -> queue.SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]]:
    jobs: queue.SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            start, result = jobs.get()
            try:
                result.set_result(start())
            except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
                result.set_exception(error)

    threading.Thread(target=work, name="spawner", daemon=True).start()
    return jobs
