"""Children end with their parent, however it ends, and are killed with all of theirs."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from devnet.child import descendants, is_running, kill_tree, spawn, wait_until

_PARENT = """
import signal, sys, time
from devnet.child import spawn
child = spawn(["/bin/sleep", "300"], death_signal=signal.SIGTERM)
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.mark.crash
def test_a_child_ends_when_its_parent_is_killed() -> None:
    """Not even kill -9, which no handler sees, leaves a server behind."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not is_running(pid), 5)


def test_a_child_outlives_the_thread_that_started_it() -> None:
    """The kernel's parent is a thread, and a pool's thread may end long before the process."""
    children: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: children.append(spawn(["/bin/sleep", "300"])))
    thread.start()
    thread.join()
    [child] = children
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    kill_tree(child)
    assert child.returncode == -signal.SIGKILL


def test_killing_a_tree_leaves_no_grandchild(tmp_path: Path) -> None:
    """PostgreSQL's backends are in sessions of their own: no process group reaches them."""
    child = spawn(["/bin/sh", "-c", "sleep 300 & sleep 300 & wait"], log=tmp_path / "log")
    assert wait_until(lambda: len(descendants(child.pid)) == 2, 5)
    pids = descendants(child.pid)
    kill_tree(child)
    assert not any(is_running(pid) for pid in pids)
