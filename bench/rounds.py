"""What a command costs the worker by itself: whole rounds in this process, log and read models in memory.

Neither Kafka nor PostgreSQL is in it, nor their drivers, so it moves by a hundredth or two from run to run where
`worker` moves by ten: it tells what a change of the domain, of a projection or of the round costs.
"""

import gc
import statistics
import time
from collections.abc import Iterator, Sequence

from bench.benchmark import Bench, Benchmark
from bench.row import Row, reported
from bench.workload import Spread, Workload
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.memory.store import MemoryStore
from eventstore.records import Lease
from projections.memory import MemoryDocuments
from worker.round import Rounds
from worker.source import Record

ACCOUNTS, SHARDS = 20_000, 4
"""More accounts than a worker remembers, so that to remember one is to forget another."""
SIZES = (1_000, 20)
"""Commands in a round: of a backlog, and of a day's work."""
COMMANDS_PER_SECOND = 6_000
"""How many are applied for a second that was asked for; the second half is timed, when as many holds end as begin."""


async def measure(bench: Bench) -> Sequence[Row]:
    """Both spreads of accounts, in large rounds and in small ones."""
    rows: list[Row] = []
    spreads: tuple[Spread, ...] = ("uniform", "zipf")
    for spread in spreads:
        took = {size: [await _applied_us(spread, size, bench.seconds) for _ in range(bench.repeats)] for size in SIZES}
        rows += [reported(f"rounds {spread} of {size:,}", statistics.median(took[size]), "µs") for size in SIZES]
    return rows


async def _applied_us(spread: Spread, size: int, seconds: float) -> float:
    """Microseconds of CPU of a command: the median of the rounds, without collecting garbage meanwhile."""
    count = int(seconds * COMMANDS_PER_SECOND)
    records = list(_records(spread, size, count))
    store = MemoryStore(SHARDS, system_clock)
    rounds = Rounds(
        worker="bench",
        store=store,
        documents=MemoryDocuments(),
        macs=MacChain({"bench": bytes(32)}),
        clock=system_clock,
        shards=SHARDS,
    )
    leases = {each.shard: Lease(shard=each.shard, epoch=each.epoch) for each in await store.claim("bench", SHARDS, 900)}
    took = []
    gc.collect()
    gc.disable()
    try:
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            began = time.thread_time()
            applied = await rounds.apply(leases, batch)
            took.append((time.thread_time() - began) / len(batch) * 1e6)
            assert not any(applied.failed)
    finally:
        gc.enable()
    return statistics.median(took[-(count // (2 * size)) :])


def _records(spread: Spread, size: int, count: int) -> Iterator[Record]:
    """The commands as rounds of that size find them: as many of each shard."""
    workload = Workload(accounts=range(ACCOUNTS), spread=spread, shards=SHARDS, at=system_clock())
    by_shard: list[list[Record]] = [[] for _ in range(SHARDS)]
    for commands in (workload.funding(), workload.mixed(count)):
        for shard, _, value in commands:
            by_shard[shard].append(Record(shard=shard, offset=len(by_shard[shard]), value=value))
    step = size // SHARDS
    for start in range(0, max(map(len, by_shard)), step):
        for records in by_shard:
            yield from records[start : start + step]


BENCHMARK = Benchmark(
    name="rounds",
    summary="what a command costs the worker by itself, log and read models in memory",
    measure=measure,
)
