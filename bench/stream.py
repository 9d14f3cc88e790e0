"""Streamed chat completions beside a bare pass-through: first byte, tokens a second, and what an open one occupies."""

import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack

from msgspec import Struct

from bench.benchmark import Bench, Benchmark
from bench.cpu import resident_mb
from bench.deployment import Deployment, deployed, pass_through, provider
from bench.gateway import chat_request
from bench.load import Plan, Result, load, quantile
from bench.open_streams import open_streams
from bench.row import Row, held, reported

TTFB_MS, STREAM_KB = 5.0, 50.0
RATE, RATE_CONNECTIONS = 40.0, 32
"""Streams a second where the first byte is timed: few enough that no queue is timed with it."""
SHORT, LONG = 50, 500
"""Tokens of an answer where the first byte is timed, and where tokens are counted."""
CONNECTIONS = 16
OPEN = 1_000
WARM = 100
"""Streams that are open already when memory is first read: what the first ones need is needed once."""


class Measured(Struct, frozen=True, kw_only=True):
    """One server's streams: at a calm rate, and as many as it can."""

    calm: Result
    full: Result

    @property
    def first_byte_ms(self) -> float:
        """Median."""
        return quantile(self.calm.first_byte_s, 0.5) * 1e3

    @property
    def tokens_per_s(self) -> float:
        """Of all streams together."""
        return self.full.rate * LONG


async def measure(bench: Bench) -> Sequence[Row]:
    """Kafka and PostgreSQL with one API process, and the pass-through, by turns; then open streams."""
    ours, bare = [], []
    async with AsyncExitStack() as stack:
        provider_url, _ = await stack.enter_async_context(provider())
        bare_port, _ = await stack.enter_async_context(pass_through(provider_url))
        product = await stack.enter_async_context(deployed("stack", provider_url))
        for _ in range(bench.repeats):
            bare.append(await _measured(bare_port, "none", bench.seconds / 4))
            ours.append(await _measured(product.port, product.api_key, bench.seconds / 4))
        stream_kb = await _stream_kb(product)
    return _rows(ours, bare, stream_kb)


async def _measured(port: int, key: str, seconds: float) -> Measured:
    calm = await _streamed(port, key, SHORT, seconds, RATE_CONNECTIONS, rate=RATE)
    return Measured(calm=calm, full=await _streamed(port, key, LONG, seconds, CONNECTIONS))


async def _streamed(
    port: int, key: str, tokens: int, seconds: float, connections: int, *, rate: float | None = None
) -> Result:
    asked = chat_request(port, key, stream=True, text=f"[[tokens={tokens}]]")
    result = await load(
        Plan(host="127.0.0.1", port=port, requests=[asked], connections=connections, seconds=seconds, rate=rate)
    )
    result.assert_all_well()
    return result


async def _stream_kb(product: Deployment) -> float:
    """What the API process grows by for each of `OPEN` streams that last, in kB of 1,000 bytes."""
    slow = chat_request(product.port, product.api_key, stream=True, text="[[tokens=1000]] [[tps=1]]")
    async with open_streams(product.port, slow, WARM):
        before = resident_mb(product.api_pid)
        async with open_streams(product.port, slow, OPEN):
            return (resident_mb(product.api_pid) - before) * 1e3 / OPEN


def _rows(ours: Sequence[Measured], bare: Sequence[Measured], stream_kb: float) -> list[Row]:
    added = statistics.median(
        mine.first_byte_ms - theirs.first_byte_ms for mine, theirs in zip(ours, bare, strict=True)
    )
    return [
        held("stream first byte added", added, "ms", target=TTFB_MS, better="low"),
        reported(
            "stream first byte",
            statistics.median(each.first_byte_ms for each in ours),
            "ms",
            ceiling=statistics.median(each.first_byte_ms for each in bare),
        ),
        reported(
            "stream tokens",
            statistics.median(each.tokens_per_s for each in ours),
            "tokens/s",
            ceiling=statistics.median(each.tokens_per_s for each in bare),
        ),
        held("stream memory", stream_kb, "kB/stream", target=STREAM_KB, better="low"),
    ]


BENCHMARK = Benchmark(name="stream", summary="streams beside a bare pass-through, and 1,000 open ones", measure=measure)
