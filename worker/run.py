"""`python -m worker run`: applies commands until it is told to stop."""

import asyncio
from collections.abc import Coroutine

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import start_http_server

from eventstore.codec import MacChain
from eventstore.command_topic import TopicUnusable, check_topic
from eventstore.errors import StoreError, Unavailable, Unmigrated
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from projections.postgres import PostgresDocuments
from projections.versions import why_unwritable
from telemetry.garbage import collect_seldom
from telemetry.metrics import REGISTRY
from worker.assembly import build_worker
from worker.audit_export import AuditExport
from worker.kafka import KafkaSink, KafkaSource
from worker.mac_keys import why_other_keys
from worker.operating import NotDone
from worker.outgoing.targets import targets_of
from worker.settings import WorkerSettings
from worker.stopping import stop_signals
from worker.worker import Worker

log = structlog.get_logger(__name__)

RETRY_S = 1.0
YOUNG_MAX = 200_000
"""Containers of a large batch, which all go with its commit: the collector need not see them."""


async def run(settings: WorkerSettings) -> None:
    """Waits for PostgreSQL and Kafka, saying so, then works until SIGTERM or SIGINT.

    A second signal ends at once: nothing is lost by that either.
    """
    collect_seldom(YOUNG_MAX)
    stopping = stop_signals()
    if settings.metrics_port is not None:
        _serve_metrics(settings.metrics_host, settings.metrics_port)
    connections = settings.lanes * 2 + 5 + settings.outgoing.connections
    store = await PostgresStore.open(settings.database_url, WORKER, connections_max=connections)
    sink = KafkaSink(settings.kafka_bootstrap_servers, settings.kafka_topic)
    try:
        macs = MacChain(dict(settings.log_mac_keys))
        if await _dependencies(store, settings, macs, stopping):
            await _work(store, sink, settings, macs, stopping)
    finally:
        await sink.close()
        await store.close()


def _serve_metrics(host: str, port: int) -> None:
    """`NotDone`, with the settings to look at, where nobody can listen there."""
    try:
        start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise NotDone(
            f"cannot listen on {host} port {port}, which FORMSTATE_WORKER_METRICS_HOST and _PORT name: {error.strerror}"
        ) from error


async def _dependencies(
    store: PostgresStore, settings: WorkerSettings, macs: MacChain, stopping: asyncio.Event
) -> bool:
    """True once both are there and fit each other; False when told to stop before."""
    while not stopping.is_set():
        try:
            if not await _unless(stopping, _check(store, settings, macs)):
                return False
        except (Unavailable, Unmigrated, TopicUnusable, KafkaError, OSError) as error:
            dependency = "postgres" if isinstance(error, StoreError) else "kafka"
            log.warning("worker_waits", dependency=dependency, reason=str(error) or type(error).__name__)
        else:
            return True
        try:
            async with asyncio.timeout(RETRY_S):
                await stopping.wait()
        except TimeoutError:
            continue
    return False


async def _check(store: PostgresStore, settings: WorkerSettings, macs: MacChain) -> None:
    await check_topic(settings.kafka_bootstrap_servers, settings.kafka_topic, await store.shards())
    await check_erasures(store)
    if reason := await why_unwritable(PostgresDocuments(store.pool)):
        raise Unmigrated(reason)
    if reason := await why_other_keys(store.pool, macs):
        raise NotDone(reason)


async def check_erasures(store: PostgresStore) -> None:
    """Erases again what a restore has brought back, before anything is applied."""
    if erased := await store.erase_again():
        log.warning("keys_erased_again", count=erased)


async def _unless(stopping: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Whether the work was done before we were told to stop; what tries to reach a server may take its time."""
    stop, working = asyncio.create_task(stopping.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait([stop, working], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        stop.cancel()
        working.cancel()
        await asyncio.gather(stop, working, return_exceptions=True)


async def _work(
    store: PostgresStore, sink: KafkaSink, settings: WorkerSettings, macs: MacChain, stopping: asyncio.Event
) -> None:
    documents = PostgresDocuments(store.pool)
    async with targets_of(settings.outgoing) as targets:
        worker = await build_worker(
            store=store,
            documents=documents,
            source=lambda: KafkaSource(settings.kafka_bootstrap_servers, settings.kafka_topic),
            sink=sink,
            macs=macs,
            lanes=settings.lanes,
            targets=targets,
        )
        log.info("worker_started", worker=worker.name, lanes=settings.lanes, targets=[each.name for each in targets])
        beside = [asyncio.create_task(_close_when(stopping, worker))]
        if settings.audit_export_dir is not None:
            export = AuditExport(settings.audit_export_dir, store, documents, macs)
            beside.append(asyncio.create_task(export.run(), name="audit-export"))
        try:
            await worker.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
    log.info("worker_stopped", worker=worker.name)


async def _close_when(stopping: asyncio.Event, worker: Worker) -> None:
    await stopping.wait()
    worker.close()
