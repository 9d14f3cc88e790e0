"""A month of usage by model and day, over HTTP: of an account with a million requests, and of one with ten thousand."""

import random
import statistics
from collections.abc import Iterable, Sequence

import aiohttp
import asyncpg

from bench.benchmark import Bench, Benchmark
from bench.cpu import cpu_between, cpu_of, cpu_rows
from bench.customers import Customer, ask, customers
from bench.deployment import Deployment, deployed, provider
from bench.load import WARM_UP_S, Plan, Result, load, quantile, request
from bench.row import Row, held, reported
from domain.instant import DAY, Instant
from eventstore.shards import SHARDS_DEFAULT, shard_of
from projections import usage_days, usage_histogram, usage_quarters
from projections.document_tables import table_of
from projections.projection import AnyProjection
from projections.usage import BLOCK, HALF_HOUR, QUARTER, Figures, counted
from projections.usage_days import UsageDay
from projections.usage_quarters import UsageBlock

FEW, MANY = 10_000, 1_000_000
MONTH: tuple[Instant, Instant] = (1_772_323_200_000_000, 1_775_001_600_000_000)
"""March 2026 in UTC. It is asked for as Berlin counts it, so that each of its days is parts of two, one of 23 hours."""
PERIOD = "from=2026-03-01&to=2026-04-01&time_zone=Europe/Berlin"
MODELS, KEYS = 5, 4
P50_MS, P99_MS = 10.0, 50.0
FLAT = 1.3
Documents = dict[tuple[object, ...], UsageBlock | UsageDay]


async def measure(bench: Bench) -> Sequence[Row]:
    """By turns of the one account and the other, one request at a time; then the same by key, for comparison."""
    async with provider() as (provider_url, _), deployed("stack", provider_url) as product:
        few, many = await customers(product, 2)
        for each, requests in ((few, FEW), (many, MANY)):
            await _fill(product, each, requests)
        seconds = bench.seconds / 4
        runs = [
            (await _asked(product, few, "model,day", seconds), await _asked(product, many, "model,day", seconds))
            for _ in range(bench.repeats)
        ]
        pids = {"api": product.api_pid, "postgres": product.pids["postgres"]}
        before = cpu_of(pids)
        counted_run = await _asked(product, many, "model,day", seconds, warm_up_s=0)
        used = cpu_between(before, cpu_of(pids))
        by_key = await _asked(product, many, "api_key,day", seconds)
    cpu = {name: spent / counted_run.answered for name, spent in used.items()}
    return [*_rows(runs, by_key), *cpu_rows("usage", cpu, 1, "request")]


async def _fill(product: Deployment, customer: Customer, requests: int) -> None:
    """Writes the month as workers would have left it, and asks whether it is all there."""
    async with aiohttp.ClientSession(product.url) as http:
        settings = await ask(http, "GET", "/billing/settings", token=customer.token)
        account_id: str = settings["account_id"]
        connection = await asyncpg.connect(product.setting("DATABASE_URL"))
        try:
            for projection, documents in _month(account_id, requests):
                await _save(connection, projection, documents)
        finally:
            await connection.close()
        said = await ask(http, "GET", f"/billing/usage?{PERIOD}&group_by=model,day", token=customer.token)
        assert len(said["groups"]) == MODELS * 31, len(said["groups"])
        before = await ask(http, "GET", "/billing/usage?from=2026-03-01&to=2026-04-01", token=customer.token)
        assert before["totals"]["requests"] == requests, before["totals"]


def _month(account_id: str, requests: int) -> Iterable[tuple[AnyProjection, Iterable[UsageBlock | UsageDay]]]:
    """Requests spread over every quarter of an hour, model and key, in the projections' own documents."""
    dice = random.Random(requests)
    blocks: Documents = {}
    days: Documents = {}
    cells = [(at, m, k) for at in range(*MONTH, QUARTER) for m in range(MODELS) for k in range(KEYS)]
    for number, (at, m, k) in enumerate(cells):
        count = (number + 1) * requests // len(cells) - number * requests // len(cells)
        if not count:
            continue
        model, key_id, latency_ms = f"model-{m}", f"key_{k:032x}", int(dice.lognormvariate(6.5, 0.7))
        change = tuple(count * each for each in (1, 0, 0, 900, 100, 0, 350, 50, 0, 0, 2_400, latency_ms))
        start, place = at - at % BLOCK, (at - at % BLOCK, m, k)
        block = blocks.get(place) or UsageBlock(
            account_id=account_id, start=start, model=model, key_id=key_id, user_id=account_id
        )
        blocks[place] = counted(block, (at - start) // QUARTER, change)
        days[at - at % DAY, m] = _day(days, account_id, at, m, change, latency_ms, count)
    return (usage_quarters.PROJECTION, blocks.values()), (usage_days.PROJECTION, days.values())


def _day(
    days: Documents, account_id: str, at: Instant, m: int, change: Figures, latency_ms: int, count: int
) -> UsageDay:
    start = at - at % DAY
    day = days.get((start, m)) or UsageDay(account_id=account_id, start=start, model=f"model-{m}")
    assert isinstance(day, UsageDay)
    part = (at - start) // BLOCK
    return counted(
        day,
        (at - start) // HALF_HOUR,
        change,
        latencies=usage_histogram.counted(day.latencies, usage_histogram.code_of(part, latency_ms), count),
        tokens=usage_histogram.counted(day.tokens, usage_histogram.code_of(part, 1_400 + latency_ms), count),
    )


async def _save(
    connection: "asyncpg.Connection[asyncpg.Record]",
    projection: AnyProjection,
    documents: Iterable[UsageBlock | UsageDay],
) -> None:
    table = table_of(projection.collection)
    rows = [
        (
            shard_of(f"account:{each.account_id}", SHARDS_DEFAULT),
            f"{each.account_id}:bench:{number}",
            projection.owner(each),
            projection.sort(each),
            projection.encode(each).decode(),
        )
        for number, each in enumerate(documents)
    ]
    columns = ("shard", "key", "owner", "sort", "doc")
    await connection.copy_records_to_table(table, records=rows, columns=columns)
    await connection.execute(f"VACUUM ANALYZE {table}")


async def _asked(
    product: Deployment, customer: Customer, group_by: str, seconds: float, warm_up_s: float = WARM_UP_S
) -> Result:
    path = f"/billing/usage?{PERIOD}&group_by={group_by}"
    asking = request("GET", path, host=f"127.0.0.1:{product.port}", token=customer.token)
    result = await load(
        Plan(
            host="127.0.0.1", port=product.port, requests=[asking], connections=1, seconds=seconds, warm_up_s=warm_up_s
        )
    )
    result.assert_all_well()
    return result


def _rows(runs: Sequence[tuple[Result, Result]], by_key: Result) -> list[Row]:
    few, many = ([each[place] for each in runs] for place in (0, 1))
    p50, p99 = (statistics.median(quantile(run.took_s, share) for run in many) * 1e3 for share in (0.5, 0.99))
    flat = statistics.median(quantile(b.took_s, 0.5) / quantile(a.took_s, 0.5) for a, b in runs)
    few_p50 = statistics.median(quantile(run.took_s, 0.5) for run in few) * 1e3
    return [
        held("usage p50", p50, "ms", target=P50_MS, better="low"),
        held("usage p99", p99, "ms", target=P99_MS, better="low"),
        held("usage a million", p50, "ms", ceiling=few_p50, ratio=flat, target=FLAT, better="low"),
        reported("usage by key p50", quantile(by_key.took_s, 0.5) * 1e3, "ms"),
        reported("usage by key p99", quantile(by_key.took_s, 0.99) * 1e3, "ms"),
    ]


BENCHMARK = Benchmark(
    name="usage",
    summary="a month of usage by model and day, of ten thousand and of a million requests",
    measure=measure,
)
