"""What checking credentials that were seen lately costs, in this process: what it adds to every request."""

import statistics
import time
from collections.abc import MutableMapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from api.answer import Sender
from api.identity.identities import Identities
from api.parts import Services
from bench.benchmark import Bench, Benchmark
from bench.deployment import PLANS
from bench.row import Row, held
from devnet.arguments import Common, Person
from devnet.issuer.example_tokens import issue
from devnet.one_process import Devnet, devnet_settings
from devnet.provider import ProviderOptions
from devnet.seed import seed

TARGET_US = {"api key": 30.0, "login token": 60.0, "jwt rs256": 60.0, "rate limit": 10.0}
SOMEBODY = Person(subject="somebody", role="user")
BATCH = 1_000
WARM_UP = 2
"""Batches that are not counted: the first one fills the caches."""
ADDRESS, AGENT = "127.0.0.1", "bench"


async def measure(bench: Bench) -> Sequence[Row]:
    """All kinds of credentials by turns, on the identities of a whole devnet."""
    took: dict[str, list[float]] = {name: [] for name in TARGET_US}
    async with AsyncExitStack() as stack:
        devnet = await started_devnet(stack)
        seeded = await seed(devnet.url, devnet.grant_role)
        assert devnet.issuer_url is not None
        external = await issue(devnet.issuer_url, (SOMEBODY,))
        credentials = {
            "api key": seeded.api_key,
            "login token": seeded.user_token,
            "jwt rs256": external.tokens[SOMEBODY.subject],
        }
        end = time.perf_counter() + bench.seconds
        while time.perf_counter() < end:
            for name, text in credentials.items():
                took[name].append(await _batch_us(devnet.services.identities, f"Bearer {text}"))
            took["rate limit"].append(await _limited_us(devnet.services, f"Bearer {seeded.api_key}"))
    return [
        held(f"auth {name}", statistics.median(took[name][WARM_UP:]), "µs", target=target, better="low")
        for name, target in TARGET_US.items()
    ]


async def started_devnet(stack: AsyncExitStack) -> Devnet:
    """A devnet with limits, an identity provider that knows somebody, and the benchmarks' plans."""
    chosen = Common(
        host=ADDRESS,
        port=0,
        json=True,
        limits=True,
        local_model=False,
        upstream=None,
        log_level="warning",
        issued=(SOMEBODY,),
        plans_file=PLANS,
    )
    devnet = Devnet(chosen, devnet_settings(chosen, None), ProviderOptions())
    await devnet.start(stack)
    return devnet


async def _batch_us(identities: Identities, authorization: str) -> float:
    """Microseconds of one call, over `BATCH` of them."""
    began = time.perf_counter()
    for _ in range(BATCH):
        await identities.authenticate(authorization, None, address=ADDRESS, user_agent=AGENT)
    return (time.perf_counter() - began) / BATCH * 1e6


async def _limited_us(services: Services, authorization: str) -> float:
    """Microseconds of deciding and of saying so on the answer, of an account and a key with all limits on."""
    caller = await services.identities.authenticate(authorization, None, address=ADDRESS, user_agent=AGENT)
    began = time.perf_counter()
    for _ in range(BATCH):
        await services.rate_limits.admit_caller(Sender(_nowhere, "req_bench"), caller)
    return (time.perf_counter() - began) / BATCH * 1e6


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """Sends nothing."""


BENCHMARK = Benchmark(
    name="auth",
    summary="checking an API key, a login token or an identity provider's token that was seen lately, and rate limits",
    measure=measure,
)
