"""What a command costs a worker and its database when there are a hundred times as many accounts.

The database has the memory that docs/operating.md asks for, and in it what it has read: the figure tells what many
accounts cost, and not what a disk does.
"""

import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench.benchmark import Bench, Benchmark
from bench.cpu import cpu_between, cpu_of, cpu_rows, resident_mb
from bench.databases import migrated_database, read_from_the_start, until_applied
from bench.population import populate, warm
from bench.processes import environment, running
from bench.row import Row, held, reported
from bench.topic import produce
from bench.workload import Workload
from devnet.servers import unique_topic
from eventstore.clock import system_clock
from eventstore.command_topic import create_topic
from eventstore.shards import SHARDS_DEFAULT

FEW, MANY = 10_000, 1_000_000
TARGET = 1.3
EXPECTED_RATE = 6_000
SKIP, END = 0.25, 0.97
TIMEOUT_S = 300.0


class Cost(Struct, frozen=True, kw_only=True):
    """One pass over a backlog."""

    cpu: dict[str, float]
    """Seconds a command, by process."""
    rate: float
    worker_mb: float

    @property
    def total(self) -> float:
        """Seconds of worker and database for a command."""
        return self.cpu["worker"] + self.cpu["postgres"]


async def measure(bench: Bench) -> Sequence[Row]:
    """The same number of commands over all of few accounts, over all of many, and over few of many."""
    few, many, few_of_many = [], [], []
    server = bench.roomy_postgres
    async with migrated_database(server) as small, migrated_database(server) as large:
        await populate(small, FEW)
        await populate(large, MANY)
        for url in (small, large):
            await warm(url)
        for _ in range(bench.repeats):
            few.append(await _pass(bench, small, FEW))
            many.append(await _pass(bench, large, MANY))
            few_of_many.append(await _pass(bench, large, FEW))
    return _rows(few, many, few_of_many)


async def _pass(bench: Bench, url: str, accounts: int) -> Cost:
    """Lets a worker apply a new topic over the first accounts of a database."""
    servers, topic = bench.kafka.bootstrap_servers, unique_topic()
    await create_topic((servers,), topic, SHARDS_DEFAULT)
    workload = Workload(accounts=range(accounts), spread="uniform", shards=SHARDS_DEFAULT, at=system_clock())
    count = await produce(servers, topic, workload.mixed(int(bench.seconds * EXPECTED_RATE / (END - SKIP))))
    await read_from_the_start(url)
    with running(["worker", "run"], environment(url, servers, topic)) as process:
        pids = {"worker": process.pid, "postgres": bench.roomy_postgres.pid}
        started, first = await until_applied(url, int(count * SKIP), TIMEOUT_S)
        before = cpu_of(pids)
        ended, last = await until_applied(url, int(count * END), TIMEOUT_S)
        cpu = cpu_between(before, cpu_of(pids))
        await until_applied(url, count, TIMEOUT_S)
        worker_mb = resident_mb(process.pid)
    commands = last - first
    return Cost(
        cpu={name: used / commands for name, used in cpu.items()},
        rate=commands / (ended - started),
        worker_mb=worker_mb,
    )


def _rows(few: Sequence[Cost], many: Sequence[Cost], few_of_many: Sequence[Cost]) -> list[Row]:
    ratio = statistics.median(theirs.total / ours.total for ours, theirs in zip(few, many, strict=True))
    active = statistics.median(theirs.total / ours.total for ours, theirs in zip(few, few_of_many, strict=True))
    cost = _median(few)
    rows = [
        held("scale", _median(many), "ms/command", ceiling=cost, ratio=ratio, target=TARGET, better="low"),
        held(
            "scale active", _median(few_of_many), "ms/command", ceiling=cost, ratio=active, target=TARGET, better="low"
        ),
    ]
    for name, costs in (("scale 10 thousand", few), ("scale 1 million", many), ("scale active", few_of_many)):
        cpu = {process: statistics.median(each.cpu[process] for each in costs) for process in costs[0].cpu}
        rows += cpu_rows(name, cpu, 1, "command")
        rows.append(reported(f"{name} rate", statistics.median(each.rate for each in costs), "commands/s"))
        rows.append(reported(f"{name} memory", statistics.median(each.worker_mb for each in costs), "MB"))
    return rows


def _median(costs: Sequence[Cost]) -> float:
    return statistics.median(each.total for each in costs) * 1_000


BENCHMARK = Benchmark(
    name="scale", summary="cost of a command at 10 thousand and at 1 million accounts", measure=measure
)
