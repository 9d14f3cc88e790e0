"""The whole product in one process on loopback, as the gateway's tests need it: API, worker, memory, mock provider."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import uvicorn
from msgspec import structs
from openai import AsyncOpenAI

from api.app import create_app
from api.command_log.bus import Ack, BusUncertain
from api.identity.passwords import Passwords
from api.ids import random_hex, uuid7
from api.llm_models import LlmModel, LlmModels, load_llm_models
from api.parts import Services
from api.plans import Plans, load_plans
from api.server import Server, listening_socket
from api.settings import ApiSettings
from api.wiring import running_services
from devnet.log import MemoryLog
from devnet.provider import ProviderOptions, Running, running
from domain.account.credits import AddCredits
from domain.account.usage import Price
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from domain.money import parse_credits
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.memory.store import MemoryStore
from eventstore.shards import SHARDS_DEFAULT
from projections.memory import MemoryDocuments
from tests.api.gateway.account import BOUND_S, Account, until
from tests.worker.bench import IDLE_S
from worker.assembly import build_worker


class HeldUpLog(MemoryLog):
    """The log in memory, whose acknowledgements can be held back: by default all arrive."""

    def __init__(self) -> None:
        super().__init__(SHARDS_DEFAULT)
        self.lose: Callable[[bytes], bool] = lambda _record: False
        """Records that arrive nowhere, and of which nobody tells."""
        self.unsure: Callable[[bytes], bool] = lambda _record: False
        """Records that arrive, and of which nobody tells."""
        self.seen: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `api.command_log.bus.CommandBus`."""
        self.seen.append(value)
        await self.open.wait()
        if self.lose(value):
            raise BusUncertain("lost")
        ack = await super().send(shard, key, value)
        if self.unsure(value):
            raise BusUncertain("arrived, and nobody knows")
        return ack

    def count(self, tag: str) -> int:
        """Records of a command type that were sent."""
        mark = f'"type":"{tag}"'.encode()
        return sum(mark in record for record in self.seen)


class Place:
    """What a test can reach."""

    def __init__(
        self,
        services: Services,
        log: HeldUpLog,
        provider: Running,
        urls: list[str],
        http: aiohttp.ClientSession,
        clients: list[AsyncOpenAI],
    ) -> None:
        self.services = services
        self.documents = services.documents
        self.log = log
        self.provider = provider
        self.url = urls[0]
        self.urls = urls
        """Of each API; they share nothing but store and log."""
        self.http = http
        self.clients = clients
        """Closed with the place."""

    async def left(self) -> None:
        """Returns once no request is open at the provider."""

        async def nothing_open() -> bool:
            return self.provider.ledger.counts.open == 0

        await until(nothing_open, bound_s=1.0)

    async def account(self, credits: str = "10", *, mode: str = "live") -> Account:
        """A new account with so many credits and a key."""
        person = {"email": f"{random_hex()}@example.com", "password": random_hex()}
        async with self.http.post(f"{self.url}/auth/register", json=person) as response:
            assert response.status == 201, await response.text()
            user = await response.json()
        if parse_credits(credits):
            await self.grant(user["account_id"], credits)
        bearer = {"Authorization": f"Bearer {user['token']}"}
        async with self.http.post(f"{self.url}/api-keys", json={"name": "test", "mode": mode}, headers=bearer) as made:
            assert made.status == 201, await made.text()
            key = (await made.json())["key"]
        return Account(self, user["account_id"], user["token"], key)

    async def grant(self, account_id: str, credits: str) -> None:
        """Adds credits, as an operator would."""
        commands = self.services.commands
        header = Header(
            id=uuid7(),
            attempt=random_hex(),
            stream=f"account:{account_id}",
            account=account_id,
            actor=Actor(kind="system", id="test"),
            issued_at=system_clock(),
        )
        body = AddCredits(
            grant_id=f"grant_{random_hex()}",
            amount=parse_credits(credits),
            source="test",
            reference=random_hex(),
        )
        ack = await commands.send(Envelope(header=header, body=body))
        outcome = await commands.outcome(ack.shard, header.id, header.attempt, BOUND_S)
        assert outcome is not None
        assert outcome.status == "applied", outcome


def models_at(provider: Running, **changes: Any) -> LlmModels:
    """The shipped models at the provider's address, and some odd ones; `changes` are to every deployment."""

    def changed(model: LlmModel) -> LlmModel:
        there: dict[str, Any] = {"base_url": provider.base_url} | changes
        deployments = tuple(structs.replace(each, **there) for each in model.deployments)
        return structs.replace(model, deployments=deployments)

    models = LlmModels({name: changed(model) for name, model in load_llm_models().items()})
    basic = models["fs-basic"]
    free = Price(input=0, cached_input=0, output=0, version="free")
    assert basic.price is not None
    audible = structs.replace(basic.price, audio_input=40_000_000, audio_output=80_000_000, version="audible")
    upstream = tuple(structs.replace(each, upstream_model="fs-basic") for each in basic.deployments)
    odd = (
        structs.replace(basic, id="free", status="free", price=free, deployments=upstream),
        structs.replace(basic, id="unpriced", status="unpriced", price=None),
        structs.replace(basic, id="audible", price=audible, deployments=upstream),
        structs.replace(basic, id="foreign", built_in=False, deployments=upstream),
    )
    return with_models(models, *odd)


def with_models(models: LlmModels, *others: LlmModel) -> LlmModels:
    """The same with more models behind them, or other ones in their place."""
    return LlmModels({**models, **{each.id: each for each in others}})


@asynccontextmanager
async def running_place(
    *,
    provider: ProviderOptions | None = None,
    models: Callable[[Running], LlmModels] = models_at,
    apis: int = 1,
    plans: Plans | None = None,
    limits: bool = False,
    clock: Callable[[], Instant] = system_clock,
) -> AsyncIterator[Place]:
    """All of it, started and stopped; `apis` of the HTTP process's insides, each on a port of its own.

    Without `limits` nobody counts requests or messages. `clock` is the APIs' and the worker's.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        clients: list[AsyncOpenAI] = []
        stack.push_async_callback(_close_all, clients)
        upstream = await stack.enter_async_context(running(provider or ProviderOptions()))
        store, documents, log = MemoryStore(SHARDS_DEFAULT, system_clock), MemoryDocuments(), HeldUpLog()
        api: list[Services] = []
        await _start_worker(stack, store, documents, log, api, clock)
        settings = replace(_settings(), limits=limits, anonymous_requests_per_minute=100_000)
        for _ in range(apis):
            services = running_services(
                mode="devnet",
                settings=settings,
                store=store,
                documents=documents,
                bus=log,
                plans=plans or load_plans(),
                llm_models=models(upstream),
                clock=clock,
                passwords=Passwords(iterations=1_000),
            )
            api.append(await stack.enter_async_context(services))
        urls = [await stack.enter_async_context(serving(services)) for services in api]
        yield Place(api[0], log, upstream, urls, http, clients)


async def _start_worker(
    stack: AsyncExitStack,
    store: MemoryStore,
    documents: MemoryDocuments,
    log: HeldUpLog,
    api: list[Services],
    clock: Callable[[], Instant],
) -> None:
    """Outlives the APIs, so that what they send while they stop is applied."""

    def poke(*committed: Any) -> None:
        for services in api:
            services.commands.poller.poke(*committed)

    worker = await build_worker(
        store=store,
        documents=documents,
        source=log.source,
        sink=log,
        macs=MacChain({"test": bytes(32)}),
        idle_s=IDLE_S,
        clock=clock,
        on_outcomes=poke,
    )
    working = asyncio.create_task(worker.run())
    stack.push_async_callback(_stop, worker.close, working)


async def _close_all(clients: list[AsyncOpenAI]) -> None:
    for client in clients:
        await client.close()


@asynccontextmanager
async def serving(services: Services) -> AsyncIterator[str]:
    """The API on a real socket; its address."""
    config = uvicorn.Config(
        create_app(services), lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=0
    )
    async with Server(config).serving(listening_socket("127.0.0.1", 0)) as url:
        yield url


async def _stop(close: Callable[[], None], task: "asyncio.Task[None]") -> None:
    close()
    await task


def _settings() -> ApiSettings:
    return ApiSettings(
        database_url="",
        kafka_bootstrap_servers=(),
        jwt_secrets={"test": secrets.token_bytes(32)},
        api_key_peppers={"test": secrets.token_bytes(32)},
        master_keys={"test": secrets.token_bytes(32)},
        limits=False,
    )
