"""What each process occupies at rest: started, seeded, and left alone for a moment."""

import asyncio
from collections.abc import Mapping, Sequence

from bench.benchmark import Bench, Benchmark
from bench.cpu import resident_mb
from bench.deployment import deployed, provider
from bench.row import Row, held

TARGETS_MB: Mapping[str, float] = {"api": 120.0, "worker": 150.0, "devnet": 120.0}
REST_S = 2.0
"""Long enough for what a start leaves behind to be dropped, and for polling and leases to have gone round."""


async def measure(_bench: Bench) -> Sequence[Row]:
    """Devnet, then the processes of the stack."""
    resident: dict[str, float] = {}
    async with provider() as (provider_url, _):
        async with deployed("devnet", provider_url) as product:
            resident |= await _at_rest({"devnet": product.pids["devnet"]})
        async with deployed("stack", provider_url) as product:
            resident |= await _at_rest({name: product.pids[f"{name}-1"] for name in ("api", "worker")})
    return [held(f"memory {name}", mb, "MB", target=TARGETS_MB[name], better="low") for name, mb in resident.items()]


async def _at_rest(pids: Mapping[str, int]) -> dict[str, float]:
    await asyncio.sleep(REST_S)
    return {name: resident_mb(pid) for name, pid in pids.items()}


BENCHMARK = Benchmark(name="memory", summary="resident memory of each process at rest", measure=measure)
