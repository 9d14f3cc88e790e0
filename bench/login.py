"""Whether the time of a refused login tells if there is such a user: both kinds of refusal by turns, one at a time."""

import statistics
import time
from collections.abc import Sequence

import aiohttp

from bench.benchmark import Bench, Benchmark
from bench.customers import PASSWORD, ask
from bench.deployment import deployed, provider
from bench.row import Row, reported

PAIRS = 24
"""Refused logins of each kind: the throttle lets an address fail 50 times before it slows it down."""
QUANTILES = {"p10": 10, "p50": 50, "p90": 90}
WRONG = "not the right password at all"


async def measure(_bench: Bench) -> Sequence[Row]:
    """Of users that exist, each refused once for a wrong password, and of as many that do not."""
    async with (
        provider() as (url, _),
        deployed("devnet", url, "--no-limits") as product,
        aiohttp.ClientSession(product.url) as http,
    ):
        took: dict[str, list[float]] = {"wrong password": [], "unknown user": []}
        for number in range(PAIRS):
            known = f"bench.{number}@example.com"
            await ask(http, "POST", "/auth/register", body={"email": known, "password": PASSWORD})
            took["wrong password"].append(await _refused_ms(http, known))
            took["unknown user"].append(await _refused_ms(http, f"nobody.{number}@example.com"))
    return [
        reported(f"login {kind} {name}", statistics.quantiles(each, n=100)[place - 1], "ms")
        for name, place in QUANTILES.items()
        for kind, each in took.items()
    ]


async def _refused_ms(http: aiohttp.ClientSession, email: str) -> float:
    began = time.perf_counter()
    async with http.post("/auth/login", json={"email": email, "password": WRONG}) as answer:
        await answer.read()
        assert answer.status == 401, f"{answer.status}: {await answer.text()}"
    return (time.perf_counter() - began) * 1e3


BENCHMARK = Benchmark(
    name="login", summary="refused logins: does their time tell whether there is such a user", measure=measure
)
