"""Chat completions through the whole product beside a bare pass-through to the same provider."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from msgspec import Struct

from bench.benchmark import Bench, Benchmark
from bench.bill import assert_billed, bill
from bench.cpu import cpu_between, cpu_of, cpu_rows
from bench.deployment import MODEL, Kind, deployed, pass_through, provider
from bench.load import SERIAL, Plan, Result, load, quantile, request
from bench.row import Row, held, reported

TARGETS: Mapping[Kind, float] = {"devnet": 0.35, "stack": 0.20}
CONNECTIONS = 64
QUESTION = "Summarise in two sentences why an append-only log makes a system easier to repair after a failure."


class Measured(Struct, frozen=True, kw_only=True):
    """One run of load."""

    result: Result
    cpu: dict[str, float]
    """Seconds by process."""


def chat_request(port: int, key: str, *, stream: bool = False, text: str = QUESTION) -> str:
    """A chat completion that no other is equal to."""
    body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": f"{SERIAL} {text}"}]}
    if stream:
        body |= {"stream": True}
    return request("POST", "/v1/chat/completions", host=f"127.0.0.1:{port}", token=key, body=body)


async def measured(port: int, key: str, pids: Mapping[str, int], seconds: float) -> Measured:
    """As many chat completions as `CONNECTIONS` clients get answered."""
    plan = Plan(
        host="127.0.0.1", port=port, requests=[chat_request(port, key)], connections=CONNECTIONS, seconds=seconds
    )
    before = cpu_of(pids)
    result = await load(plan)
    used = cpu_between(before, cpu_of(pids))
    result.assert_all_well()
    # The load's warm-up is in what the others have used.
    share = plan.seconds / (plan.seconds + plan.warm_up_s)
    return Measured(result=result, cpu={name: spent * share for name, spent in used.items()})


async def measure(bench: Bench) -> Sequence[Row]:
    """Devnet, then Kafka and PostgreSQL."""
    rows: list[Row] = []
    for kind in TARGETS:
        rows += await _measure(bench, kind)
    return rows


async def _measure(bench: Bench, kind: Kind) -> list[Row]:
    ours, bare = [], []
    async with AsyncExitStack() as stack:
        provider_url, provider_pid = await stack.enter_async_context(provider())
        bare_port, bare_pid = await stack.enter_async_context(pass_through(provider_url))
        product = await stack.enter_async_context(deployed(kind, provider_url))
        pids = _measured_pids(product.pids) | {"provider": provider_pid}
        before = await bill(product)
        for _ in range(bench.repeats):
            bare.append(await measured(bare_port, "none", {"pass-through": bare_pid}, bench.seconds / 2))
            ours.append(await measured(product.port, product.api_key, pids, bench.seconds / 2))
        assert_billed(before, await bill(product), sum(each.result.answered for each in ours))
    return _rows(kind, ours, bare)


def _measured_pids(pids: Mapping[str, int]) -> dict[str, int]:
    return {name.removesuffix("-1"): pid for name, pid in pids.items() if name != "provider"}


def _rows(kind: Kind, ours: Sequence[Measured], bare: Sequence[Measured]) -> list[Row]:
    name = f"gateway {kind}"
    rate = statistics.median(each.result.rate for each in ours)
    ceiling = statistics.median(each.result.rate for each in bare)
    ratio = statistics.median(mine.result.rate / theirs.result.rate for mine, theirs in zip(ours, bare, strict=True))
    cpu = {
        process: statistics.median(each.cpu[process] / each.result.answered for each in ours) for process in ours[0].cpu
    }
    bare_cpu = statistics.median(each.cpu["pass-through"] / each.result.answered for each in bare)
    return [
        held(name, rate, "requests/s", ceiling=ceiling, ratio=ratio, target=TARGETS[kind], better="high"),
        reported(f"{name} p50", _milliseconds(ours, 0.5), "ms", ceiling=_milliseconds(bare, 0.5)),
        reported(f"{name} p99", _milliseconds(ours, 0.99), "ms", ceiling=_milliseconds(bare, 0.99)),
        *cpu_rows(name, cpu, 1, "request"),
        reported(f"{name} cpu pass-through", bare_cpu * 1_000, "ms/request"),
    ]


def _milliseconds(runs: Sequence[Measured], share: float) -> float:
    return statistics.median(quantile(each.result.took_s, share) for each in runs) * 1_000


BENCHMARK = Benchmark(name="gateway", summary="chat completions beside a bare pass-through", measure=measure)
