"""The product's own processes, started as an operator would start them, with settings of their own."""

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devnet.child import kill_tree, spawn

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 15.0
SECRETS = {
    name: f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    for name in ("JWT_SECRETS", "API_KEY_PEPPERS", "LOG_MAC_KEYS", "MASTER_KEYS")
}
"""The same for the whole run: a database is worked on by several processes, one after the other."""


def environment(database_url: str, kafka: str, topic: str, **others: str) -> dict[str, str]:
    """The variables of all processes of one deployment; `others` without their prefix."""
    chosen = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": kafka, "KAFKA_TOPIC": topic}
    chosen |= SECRETS | {"LOG_LEVEL": "warning"} | others
    return dict(os.environ) | {f"FORMSTATE_{name}": value for name, value in chosen.items()}


@contextmanager
def running(module: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module…` for the length of the block, then told to end."""
    process = spawn([sys.executable, "-m", *module], env=env, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            kill_tree(process)
