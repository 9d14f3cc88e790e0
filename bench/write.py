"""A write over HTTP, from the request to its applied answer, beside a bare acknowledged produce to the same Kafka."""

import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench.benchmark import Bench, Benchmark
from bench.cpu import Cpu, cpu_between, cpu_of, cpu_rows
from bench.customers import Customer, assert_renamed, customers
from bench.deployment import Deployment, deployed, provider
from bench.load import SERIAL, WARM_UP_S, Plan, Result, load, quantile, request
from bench.produce import produced
from bench.row import Row, held, reported
from devnet.servers import unique_topic

ACCOUNTS = 32
CONNECTIONS = 32
P50_RATIO, P99_MS = 4.0, 50.0
PROCESSES = {"api-1": "api", "worker-1": "worker", "postgres": "postgres", "kafka": "kafka"}


class Measured(Struct, frozen=True, kw_only=True):
    """One run of writes at half load, and produces at the same rate right after it."""

    writes: Result
    produces: Sequence[float]
    cpu: Cpu
    """Seconds for each write, by process."""


async def measure(bench: Bench) -> Sequence[Row]:
    """The highest rate first, then half of it, by turns with the bare produce."""
    async with provider() as (provider_url, _), deployed("stack", provider_url) as product:
        everyone = await customers(product, ACCOUNTS)
        full = await _written(product, everyone, bench.seconds / 2)
        rate, topic = full.rate / 2, unique_topic("bench")
        runs = [await _measured(product, everyone, topic, rate, bench.seconds / 2) for _ in range(bench.repeats)]
        await assert_renamed(product, everyone)
    return _rows(full, rate, runs)


async def _measured(
    product: Deployment, everyone: Sequence[Customer], topic: str, rate: float, seconds: float
) -> Measured:
    pids = {name: product.pids[key] for key, name in PROCESSES.items()}
    before = cpu_of(pids)
    writes = await _written(product, everyone, seconds, rate=rate)
    used = cpu_between(before, cpu_of(pids))
    produces = await produced(product.setting("KAFKA_BOOTSTRAP_SERVERS"), topic, rate=rate, seconds=seconds)
    asked = rate * (seconds + WARM_UP_S)
    return Measured(writes=writes, produces=produces, cpu={name: spent / asked for name, spent in used.items()})


async def _written(
    product: Deployment, everyone: Sequence[Customer], seconds: float, *, rate: float | None = None
) -> Result:
    """Changes the names of everyone's API keys, by turns."""
    requests = [
        request(
            "PATCH",
            f"/api-keys/{each.key_id}",
            host=f"127.0.0.1:{product.port}",
            token=each.token,
            body={"name": f"bench {SERIAL}"},
        )
        for each in everyone
    ]
    result = await load(
        Plan(
            host="127.0.0.1", port=product.port, requests=requests, connections=CONNECTIONS, seconds=seconds, rate=rate
        )
    )
    # Not 202: an answer that says no more than "it is on its way" is no applied answer.
    assert set(result.statuses) == {"200"}, f"{result.statuses}: {result.sample}"
    return result


def _rows(full: Result, rate: float, runs: Sequence[Measured]) -> list[Row]:
    p50 = statistics.median(quantile(run.writes.took_s, 0.5) for run in runs)
    p99 = statistics.median(quantile(run.writes.took_s, 0.99) for run in runs)
    produce_p50 = statistics.median(quantile(list(run.produces), 0.5) for run in runs)
    ratio = statistics.median(quantile(run.writes.took_s, 0.5) / quantile(list(run.produces), 0.5) for run in runs)
    cpu = {process: statistics.median(run.cpu[process] for run in runs) for process in runs[0].cpu}
    return [
        held("write p50", p50 * 1e3, "ms", ceiling=produce_p50 * 1e3, ratio=ratio, target=P50_RATIO, better="low"),
        held("write p99", p99 * 1e3, "ms", target=P99_MS, better="low"),
        reported("write half load", rate, "writes/s"),
        reported("write full load", full.rate, "writes/s"),
        reported("write full load p50", quantile(full.took_s, 0.5) * 1e3, "ms"),
        *cpu_rows("write", cpu, 1, "write"),
    ]


BENCHMARK = Benchmark(name="write", summary="a write until it is applied, beside a bare produce", measure=measure)
