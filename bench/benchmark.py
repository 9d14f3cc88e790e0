"""What a benchmark is, what it is given, and where they are found."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path

import psutil
from msgspec import Struct

import bench
from bench.row import Row
from devnet.servers import KafkaServer, PostgresServer

MEMORY_SHARE = 4
"""A quarter of the machine's memory is what PostgreSQL's manual begins with (19.4.1)."""


class Benchmark(Struct, frozen=True, kw_only=True):
    """A benchmark by name. `measure` starts what it needs, and ends it again."""

    name: str
    summary: str
    measure: Callable[["Bench"], Awaitable[Sequence[Row]]]


class Bench:
    """One run: how long to measure, a folder, and servers that are started when the first benchmark asks for them."""

    def __init__(self, stack: AsyncExitStack, folder: Path, *, seconds: float, repeats: int) -> None:
        self._stack = stack
        self.folder = folder
        self.seconds = seconds
        """How long one measurement should take."""
        self.repeats = repeats
        """How often a measurement and its ceiling are taken, by turns."""

    @cached_property
    def postgres(self) -> PostgresServer:
        """A PostgreSQL with the settings that `make stack` and the tests use."""
        return self._stack.enter_context(PostgresServer(self.folder / "postgres"))

    @cached_property
    def roomy_postgres(self) -> PostgresServer:
        """One with the memory and the room between checkpoints that docs/operating.md asks for; durable as ever."""
        settings = {
            "shared_buffers": f"{psutil.virtual_memory().total // MEMORY_SHARE // 2**20}MB",
            "max_wal_size": "16GB",
            "checkpoint_timeout": "15min",
        }
        return self._stack.enter_context(PostgresServer(self.folder / "roomy-postgres", settings=settings))

    @cached_property
    def kafka(self) -> KafkaServer:
        """A Kafka broker with the settings that `make stack` and the tests use."""
        return self._stack.enter_context(KafkaServer(self.folder / "kafka"))


def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name: every module of this package that defines `BENCHMARK`."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(bench.__path__, "bench."):
        if module.name != "bench.__main__":
            each = getattr(importlib.import_module(module.name), "BENCHMARK", None)
            if isinstance(each, Benchmark):
                found[each.name] = each
    return found
