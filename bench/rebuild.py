"""How fast all read models are made again from the log, beside reading the same rows with a cursor."""

import statistics
import time
from collections.abc import Sequence

import asyncpg

from bench.benchmark import Bench, Benchmark
from bench.cpu import cpu_between, cpu_of, cpu_rows
from bench.databases import migrated_database, until_applied
from bench.processes import environment, running
from bench.row import Row, held, reported
from bench.topic import produce
from bench.workload import Workload
from devnet.servers import unique_topic
from eventstore.clock import system_clock
from eventstore.command_topic import create_topic
from eventstore.shards import SHARDS_DEFAULT
from worker.rebuild import rebuild
from worker.settings import WorkerSettings, read_settings

ACCOUNTS = 20_000
EXPECTED_RATE = 15_000
"""Events a second: how long the log must be for the time that was asked for."""
TARGET = 0.15
APPLY_TIMEOUT_S = 300.0
CURSOR_ROWS = 5_000

READ = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac FROM events ORDER BY shard, seq
"""
DOCUMENTS = """
SELECT coalesce(sum(n_live_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'rm\\_%'
"""


async def measure(bench: Bench) -> Sequence[Row]:
    """Fills a log through a worker, then reads and rebuilds it by turns."""
    servers, topic = bench.kafka.bootstrap_servers, unique_topic()
    await create_topic((servers,), topic, SHARDS_DEFAULT)
    workload = Workload(accounts=range(ACCOUNTS), spread="uniform", shards=SHARDS_DEFAULT, at=system_clock())
    count = await produce(servers, topic, workload.funding())
    count += await produce(servers, topic, workload.mixed(max(int(bench.seconds * EXPECTED_RATE) - count, 20_000)))
    async with migrated_database(bench.postgres) as url:
        settings = environment(url, servers, topic)
        with running(["worker", "run"], settings):
            await until_applied(url, count, APPLY_TIMEOUT_S)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("VACUUM ANALYZE")
            return await _by_turns(bench, connection, read_settings(settings))
        finally:
            await connection.close()


async def _by_turns(
    bench: Bench, connection: "asyncpg.Connection[asyncpg.Record]", settings: WorkerSettings
) -> list[Row]:
    rebuilt, read, cpus = [], [], []
    events = 0
    for _ in range(bench.repeats):
        started = time.perf_counter()
        events = await _read(connection)
        read.append(events / (time.perf_counter() - started))
        before = cpu_of({"postgres": bench.postgres.pid})
        started = time.perf_counter()
        own_s = await _rebuild(settings)
        rebuilt.append(events / (time.perf_counter() - started))
        cpus.append(cpu_between(before, cpu_of({"postgres": bench.postgres.pid})) | {"rebuild": own_s})
    ratio = statistics.median(ours / theirs for ours, theirs in zip(rebuilt, read, strict=True))
    cpu = {name: statistics.median(each[name] for each in cpus) for name in cpus[0]}
    return [
        held(
            "rebuild",
            statistics.median(rebuilt),
            "events/s",
            ceiling=statistics.median(read),
            ratio=ratio,
            target=TARGET,
            better="high",
        ),
        *cpu_rows("rebuild", cpu, events, "event"),
        reported("rebuild events", events, "events"),
        reported("rebuild documents", float(await connection.fetchval(DOCUMENTS)), "documents"),
    ]


async def _read(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """All events through a server-side cursor; answers how many."""
    count = 0
    async with connection.transaction():
        cursor = await connection.cursor(READ)
        while rows := await cursor.fetch(CURSOR_ROWS):
            count += len(rows)
    return count


async def _rebuild(settings: WorkerSettings) -> float:
    """Rebuilds everything, in this process: a command's start says nothing about its speed. Seconds of our CPU."""
    before = time.process_time()
    await rebuild(settings, collections=())
    return time.process_time() - before


BENCHMARK = Benchmark(
    name="rebuild", summary="all read models from the log, beside reading it with a cursor", measure=measure
)
