"""A production process from its settings to its services: waits for Postgres and Kafka, saying so, while it answers.

Nothing here is ever given up: what is away is asked again every second, and `/ready` tells what it is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from aiokafka.errors import KafkaError

from api.command_log.kafka_bus import KafkaBus
from api.identity.issuers import Issuers
from api.llm_models import LlmModels
from api.master_keys import UnknownMasterKey, Unwrappable
from api.parts import Services
from api.plans import Plans
from api.process import Check, Process
from api.settings import ApiSettings
from api.wiring import running_services
from eventstore.command_topic import TopicUnusable
from eventstore.errors import StoreError, Unmigrated
from eventstore.postgres.pool import API
from eventstore.postgres.store import PostgresStore
from eventstore.store import Store
from projections.postgres import PostgresDocuments
from projections.versions import why_unreadable
from telemetry import logs

RETRY_S = 1.0
TELL_EVERY_S = 15.0
POSTGRES = "postgres"
KAFKA = "kafka"
LIMITS = "rate_limits"
READ_MODELS = "read_models"


class Boot:
    """The lifespan of one process. `failed` is called for what waiting cannot cure, such as a wrong master key."""

    def __init__(
        self,
        process: Process,
        plans: Plans,
        llm_models: LlmModels,
        issuers: Issuers,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._process = process
        self._plans = plans
        self._llm_models = llm_models
        self._issuers = issuers
        self._failed = failed
        self._stop = asyncio.Event()
        self._told: tuple[str, str] | None = None
        self._tell_again_at = 0.0
        self._log = logs.get(part="boot")

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Starts in the background, so that the process answers meanwhile; ends the services when left."""
        running = asyncio.create_task(self._run(), name="services")
        running.add_done_callback(self._ended)
        try:
            yield
        finally:
            self._process.stopping = True
            self._stop.set()
            if self._process.services is None:
                running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})

    def _ended(self, running: "asyncio.Task[None]") -> None:
        error = None if running.cancelled() else running.exception()
        if error is not None:
            self._log.error("process_cannot_start", error=_explained(error), exc_info=error)
            self._failed(error)

    async def _run(self) -> None:
        settings, process = self._process.settings, self._process
        process.waiting_for = {POSTGRES: "not reached yet", KAFKA: "not reached yet"}
        async with AsyncExitStack() as stack:
            store = await PostgresStore.open(settings.database_url, API)
            stack.push_async_callback(store.close)
            bus = await self._reach(store, settings)
            stack.push_async_callback(bus.stop)
            services = await self._serve(stack, store, bus)
            process.checks = {
                POSTGRES: _store_check(store),
                KAFKA: _bus_check(bus),
                READ_MODELS: partial(why_unreadable, PostgresDocuments(store.pool)),
                LIMITS: _limits_check(services),
            }
            process.services = services
            process.waiting_for = {}
            self._log.info("process_ready", shards=services.shards, mode=process.mode)
            await self._stop.wait()

    async def _reach(self, store: PostgresStore, settings: ApiSettings) -> KafkaBus:
        """Asks for the database, then for the log, until both are there and fit each other."""
        while True:
            asked = POSTGRES
            try:
                shards = await store.shards()
                asked = READ_MODELS
                if reason := await why_unreadable(PostgresDocuments(store.pool)):
                    raise Unmigrated(reason)
                asked = KAFKA
                bus = KafkaBus(settings.kafka_bootstrap_servers, settings.kafka_topic, shards)
                await bus.start()
            except (StoreError, OSError, TimeoutError, KafkaError, TopicUnusable) as error:
                await self._wait_for(asked, error)
            else:
                return bus

    async def _wait_for(self, dependency: str, error: Exception) -> None:
        """Says what is missing: at once when it is news, and now and then while it stays so."""
        reason = str(error) or type(error).__name__
        self._process.waiting_for = {dependency: reason}
        now = asyncio.get_running_loop().time()
        if (dependency, reason) != self._told or now >= self._tell_again_at:
            self._told, self._tell_again_at = (dependency, reason), now + TELL_EVERY_S
            self._log.warning("dependency_unreachable", dependency=dependency, reason=reason)
        await asyncio.sleep(RETRY_S)

    async def _serve(self, stack: AsyncExitStack, store: PostgresStore, bus: KafkaBus) -> Services:
        while True:
            services = running_services(
                mode=self._process.mode,
                settings=self._process.settings,
                store=store,
                documents=PostgresDocuments(store.pool),
                bus=bus,
                plans=self._plans,
                llm_models=self._llm_models,
                issuers=self._issuers,
            )
            try:
                return await stack.enter_async_context(services)
            except (StoreError, OSError) as error:
                await self._wait_for(POSTGRES, error)


def _explained(error: BaseException) -> str:
    if isinstance(error, UnknownMasterKey | Unwrappable):
        return f"FORMSTATE_MASTER_KEYS does not open what this database holds: {error}"
    return str(error) or type(error).__name__


def _store_check(store: Store) -> Check:
    async def check() -> str | None:
        stopped = {head.shard: head.stopped for head in await store.shard_heads() if head.stopped is not None}
        if stopped:
            shard, why = next(iter(stopped.items()))
            return f"{len(stopped)} shards are stopped, shard {shard} because {why}: see `python -m worker adopt-log`"
        return None

    return check


def _bus_check(bus: KafkaBus) -> Check:
    async def check() -> str | None:
        return bus.problem()

    return check


def _limits_check(services: Services) -> Check:
    async def check() -> str | None:
        return services.rate_limits.exchanger.problem()

    return check
