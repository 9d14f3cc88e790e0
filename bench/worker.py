"""How fast one worker process applies a backlog, from Kafka to committed, beside writing the same rows in bulk."""

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence

from msgspec import Struct

from bench.benchmark import Bench, Benchmark
from bench.cpu import Cpu, cpu_between, cpu_of, cpu_rows
from bench.databases import migrated_database, until_applied
from bench.processes import environment, running
from bench.recording import RecordingDocuments, RecordingStore
from bench.replay import Bulk, laid_out, replay, rows_written
from bench.row import Row, held, reported
from bench.topic import forget_progress, produce
from bench.workload import Spread, Workload
from devnet.servers import unique_topic
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.command_topic import create_topic
from eventstore.shards import SHARDS_DEFAULT
from worker.assembly import build_worker
from worker.kafka import KafkaSink, KafkaSource

ACCOUNTS = 20_000
EXPECTED_RATE = 8_000
"""Commands a second: how long the backlog must be for the time that was asked for."""
TARGET = 0.5
SKIP, END = 0.35, 0.97
"""The part of a pass that is timed: every account has been seen by then, and both lanes still have work."""
PASS_TIMEOUT_S = 300.0


class Pass(Struct, frozen=True, kw_only=True):
    """One timed pass over the backlog."""

    rate: float
    cpu: Cpu
    """Seconds for each command, by process."""


async def measure(bench: Bench) -> Sequence[Row]:
    """Both spreads of accounts."""
    rows: list[Row] = []
    for spread in ("uniform", "zipf"):
        rows += await _measure(bench, spread)
    return rows


async def _measure(bench: Bench, spread: Spread) -> list[Row]:
    servers, topic = bench.kafka.bootstrap_servers, unique_topic()
    await create_topic((servers,), topic, SHARDS_DEFAULT)
    workload = Workload(accounts=range(ACCOUNTS), spread=spread, shards=SHARDS_DEFAULT, at=system_clock())
    count = await produce(servers, topic, workload.funding())
    count += await produce(servers, topic, workload.mixed(int(bench.seconds * EXPECTED_RATE / (END - SKIP))))
    bulks = await _recorded(servers, topic, count)
    passes, ceilings, two = [], [], []
    for _ in range(bench.repeats):
        ceilings.append(await _ceiling(bench, bulks))
        passes.append(await _pass(bench, topic, count))
        two.append(await _ceiling(bench, bulks, side_by_side=True))
    return _rows(spread, passes, ceilings, two, bulks)


async def _recorded(servers: str, topic: str, count: int) -> list[Bulk]:
    """Lets a worker in this process apply the topic to memory, and answers what it wrote."""
    store = RecordingStore(SHARDS_DEFAULT)
    sink = KafkaSink((servers,), topic)
    worker = await build_worker(
        store=store,
        documents=RecordingDocuments(store),
        source=lambda: KafkaSource((servers,), topic),
        sink=sink,
        macs=MacChain({"bench": bytes(range(32))}),
    )
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(PASS_TIMEOUT_S):
        while sum(head.next_offset for head in await store.shard_heads()) < count:
            await asyncio.sleep(0.05)
    worker.close()
    await working
    await sink.close()
    bulks = laid_out(store.written)
    # Millions of rows that stay: the ceiling is not to pay for a look at them.
    gc.collect()
    gc.freeze()
    return bulks


async def _ceiling(bench: Bench, bulks: Sequence[Bulk], *, side_by_side: bool = False) -> Pass:
    async with migrated_database(bench.postgres) as url:
        before = {"writer": time.process_time()} | cpu_of({"postgres": bench.postgres.pid})
        took, commands = await replay(url, bulks, skip=SKIP, side_by_side=side_by_side)
        after = {"writer": time.process_time()} | cpu_of({"postgres": bench.postgres.pid})
        cpu = cpu_between(before, after)
    total = sum(bulk.commands for bulk in bulks)
    return Pass(rate=commands / took, cpu={name: used / total for name, used in cpu.items()})


async def _pass(bench: Bench, topic: str, count: int) -> Pass:
    servers = bench.kafka.bootstrap_servers
    await forget_progress(servers, topic, range(SHARDS_DEFAULT))
    async with migrated_database(bench.postgres) as url:
        with running(["worker", "run"], environment(url, servers, topic)) as process:
            pids = {"worker": process.pid, "postgres": bench.postgres.pid, "kafka": bench.kafka.pid}
            started, first = await until_applied(url, int(count * SKIP), PASS_TIMEOUT_S)
            before = cpu_of(pids)
            ended, last = await until_applied(url, int(count * END), PASS_TIMEOUT_S)
            cpu = cpu_between(before, cpu_of(pids))
            await until_applied(url, count, PASS_TIMEOUT_S)
    commands = last - first
    return Pass(rate=commands / (ended - started), cpu={name: used / commands for name, used in cpu.items()})


def _rows(
    spread: Spread, passes: Sequence[Pass], ceilings: Sequence[Pass], two: Sequence[Pass], bulks: Sequence[Bulk]
) -> list[Row]:
    name = f"worker {spread}"
    rate, ceiling = _rate(passes), _rate(ceilings)
    ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in zip(passes, ceilings, strict=True))
    commands = sum(bulk.commands for bulk in bulks)
    written = rows_written(bulks)
    return [
        held(name, rate, "commands/s", ceiling=ceiling, ratio=ratio, target=TARGET, better="high"),
        reported(f"{name} beside two bulk writers", rate, "commands/s", ceiling=_rate(two)),
        *cpu_rows(name, _cpu(passes), 1, "command"),
        *cpu_rows(f"{name} ceiling", _cpu(ceilings), 1, "command"),
        reported(f"{name} transaction", commands / len(bulks), "commands"),
        reported(f"{name} rows", sum(written.values()) / commands, "rows/command"),
    ]


def _rate(passes: Sequence[Pass]) -> float:
    return statistics.median(each.rate for each in passes)


def _cpu(passes: Sequence[Pass]) -> Cpu:
    return {process: statistics.median(each.cpu[process] for each in passes) for process in passes[0].cpu}


BENCHMARK = Benchmark(
    name="worker", summary="a worker's backlog, from Kafka to committed, beside bulk writes", measure=measure
)
