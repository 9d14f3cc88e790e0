"""Accounts whose rows were copied are accounts: a worker goes on with them as with one that it has made itself."""

import asyncpg

from bench.population import populate
from bench.workload import Workload
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.postgres.migrations import connect, migrate
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.records import Lease
from projections.document_tables import migrate_documents
from projections.postgres import PostgresDocuments
from worker.round import Rounds
from worker.source import Record

SHARDS = 32
ACCOUNTS = SHARDS + 1
"""Two are in one shard, at least."""


async def test_copied_accounts_go_on(database_url: str) -> None:
    """Every account has documents of its own, and its commands are applied."""
    await _migrated(database_url)
    await populate(database_url, ACCOUNTS)
    store = await PostgresStore.open(database_url, WORKER)
    rounds = Rounds(
        worker="w",
        store=store,
        documents=PostgresDocuments(store.pool),
        macs=MacChain({"bench": bytes(32)}),
        clock=system_clock,
        shards=SHARDS,
    )
    leases = {head.shard: Lease(shard=head.shard, epoch=head.epoch) for head in await store.claim("w", SHARDS, 60.0)}
    applied = await rounds.apply(leases, _records())
    await store.close()
    assert applied.failed == [False] * applied.commands
    connection = await asyncpg.connect(database_url)
    rejected = await connection.fetch("SELECT * FROM outcomes WHERE status <> 'applied'")
    owners = await connection.fetchval("SELECT count(DISTINCT doc->'grants'->0->>'id') FROM rm_credits")
    await connection.close()
    assert (rejected, owners) == ([], ACCOUNTS)


async def _migrated(url: str) -> None:
    connection = await connect(url)
    await migrate(connection, shards=SHARDS)
    await migrate_documents(connection)
    await connection.close()


def _records() -> list[Record]:
    workload = Workload(accounts=range(ACCOUNTS), spread="uniform", shards=SHARDS, at=system_clock())
    offsets = dict.fromkeys(range(SHARDS), 0)
    records = []
    for shard, _, value in workload.mixed(40):
        records.append(Record(shard=shard, offset=offsets[shard], value=value))
        offsets[shard] += 1
    return records
