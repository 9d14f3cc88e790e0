"""A database with very many accounts, each with the history of one that was really applied: its rows are copied."""

import re
from collections.abc import Sequence

import asyncpg

from bench.recording import RecordingDocuments, RecordingStore
from bench.workload import Workload
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.records import Lease, StoredEvent
from eventstore.shards import SHARDS_DEFAULT, shard_of
from projections.document_tables import table_of
from worker.round import Rounds
from worker.source import Record

PATTERN = 0xFEEDFACE_FEEDFACE_FEEDFACE_FEEDFACE
"""The number of the account whose rows are copied: unmistakable in every text."""
HEX = f"{PATTERN:032x}"
COPIED_COLUMNS = ("payload", "metadata", "key", "owner", "sort", "doc")

# PostgreSQL's crc32 is the one that shards are made of.
ACCOUNTS = f"""
CREATE UNLOGGED TABLE bench_accounts AS
SELECT hex, shard, row_number() OVER (PARTITION BY shard ORDER BY hex) - 1 AS place
FROM (
    SELECT hex, (crc32(convert_to('account:user_' || hex, 'UTF8')) % {SHARDS_DEFAULT})::integer AS shard
    FROM (SELECT lpad(to_hex(number), 32, '0') AS hex FROM generate_series(0, $1::bigint - 1) AS number) AS numbered
) AS placed
"""  # noqa: S608  # no value from outside is in it
# Every id of the account that is copied, as it is of the account that it is copied for: some are of its grant.
COPIED = "replace(replace({text}, '{hex}', hex), '{grant}', md5(hex))"
# What was written at once lies together, one account after the other.
COPY_EVENTS = """
INSERT INTO events (shard, stream, version, seq, at, type, schema_version, payload, metadata, mac)
SELECT
    shard, 'account:user_' || hex, version, place * {count} + version, at, type, schema_version,
    convert_to({payload}, 'UTF8'), convert_to({metadata}, 'UTF8'), mac
FROM bench_accounts CROSS JOIN unnest(
    $1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::bytea[]
) AS event (version, at, type, schema_version, payload, metadata, mac)
ORDER BY shard, place, version
"""
COPY_HEAD = """
INSERT INTO stream_head
    (shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined)
SELECT shard, 'account:user_' || hex, $1::bigint, $2::bytea, $3::bigint, NULL, 0, 0, false
FROM bench_accounts
ORDER BY shard, place
"""
COPY_DOCUMENTS = """
INSERT INTO {table} (shard, key, owner, sort, doc)
SELECT shard, {key}, {owner}, {sort}, ({doc})::jsonb
FROM bench_accounts
CROSS JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS document (key, owner, sort, doc)
ORDER BY shard, place, key
"""
# Indexes, and the tables in which a command finds something of its account; the others it only adds to.
WARM = """
SELECT sum(pg_prewarm(oid)) FROM pg_class
WHERE relnamespace = current_schema()::regnamespace
    AND (relkind = 'i' OR relname IN ('events', 'stream_head', 'rm_credits', 'rm_credit_days', 'rm_api_keys'))
"""
SET_SEQS = """
UPDATE shard_head SET seq = counted.accounts * $1::bigint
FROM (SELECT shard, count(*) AS accounts FROM bench_accounts GROUP BY shard) AS counted
WHERE shard_head.shard = counted.shard
"""


async def populate(url: str, accounts: int) -> None:
    """Writes `accounts` accounts as `Workload.funding` would have made them, numbered from 0, but for their macs."""
    pattern = await _pattern()
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    try:
        await connection.execute(ACCOUNTS.replace("$1::bigint", str(accounts)))
        await _copy(connection, pattern)
        await connection.execute("DROP TABLE bench_accounts")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def warm(url: str) -> None:
    """Has the server read what commands need into its memory, as far as it fits: as it is after a while of work."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        await connection.execute(WARM)
    finally:
        await connection.close()


async def _pattern() -> RecordingStore:
    """A store to which one account's funding was really applied."""
    workload = Workload(accounts=[PATTERN], spread="uniform", shards=SHARDS_DEFAULT, at=system_clock())
    store = RecordingStore(SHARDS_DEFAULT)
    rounds = Rounds(
        worker="bench",
        store=store,
        documents=RecordingDocuments(store),
        macs=MacChain({"populated": bytes(32)}),
        clock=system_clock,
        shards=SHARDS_DEFAULT,
    )
    leases = {head.shard: Lease(shard=head.shard, epoch=head.epoch) for head in await store.claim("bench", 32, 60.0)}
    shard = shard_of(f"account:user_{HEX}", SHARDS_DEFAULT)
    records = [
        Record(shard=shard, offset=offset, value=value) for offset, (_, _, value) in enumerate(workload.funding())
    ]
    await rounds.apply(leases, records)
    return store


async def _copy(connection: "asyncpg.Connection[asyncpg.Record]", pattern: RecordingStore) -> None:
    (written,) = pattern.written
    events = written.batch.events
    grant = _grant(events)
    copied = {name: COPIED.format(text=name, hex=HEX, grant=grant) for name in COPIED_COLUMNS}
    await connection.execute(
        COPY_EVENTS.format(count=len(events), **copied),
        [event.version for event in events],
        [event.at for event in events],
        [event.type for event in events],
        [event.schema_version for event in events],
        [event.payload.decode() for event in events],
        [event.metadata.decode() for event in events],
        [event.mac for event in events],
    )
    for _, head in written.batch.heads:
        await connection.execute(COPY_HEAD, head.version, head.mac, head.due_at)
    for collection, changes in written.documents.items():
        await connection.execute(
            COPY_DOCUMENTS.format(table=table_of(collection), **copied),
            [change.key for change in changes],
            [change.owner for change in changes],
            [change.sort for change in changes],
            [(change.doc or b"").decode() for change in changes],
        )
    await connection.execute(SET_SEQS, len(events))


def _grant(events: Sequence[StoredEvent]) -> str:
    """The number of the account's one grant, which is none of the account's own."""
    grants: set[str] = {
        found for event in events for found in re.findall(r"grant_([0-9a-f]{32})", event.payload.decode())
    }
    (grant,) = grants
    return grant
