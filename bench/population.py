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
COPIED = "replace(replace({text}::text, '{hex}', hex), '{grant}', md5(hex))"
COPY_EVENT = """
INSERT INTO events (shard, stream, version, seq, at, type, schema_version, payload, metadata, mac)
SELECT
    shard, 'account:user_' || hex, $1::bigint, place * $2::bigint + $1::bigint, $3::bigint, $4::text, $5::integer,
    convert_to({payload}, 'UTF8'), convert_to({metadata}, 'UTF8'), $8::bytea
FROM bench_accounts
"""
COPY_HEAD = """
INSERT INTO stream_head
    (shard, stream, version, mac, due_at, snapshot, snapshot_at, snapshot_version, quarantined)
SELECT shard, 'account:user_' || hex, $1::bigint, $2::bytea, $3::bigint, NULL, 0, 0, false FROM bench_accounts
"""
COPY_DOCUMENT = """
INSERT INTO {table} (shard, key, owner, sort, doc)
SELECT shard, {key}, {owner}, {sort}, {doc}::jsonb
FROM bench_accounts
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


async def _pattern() -> RecordingStore:
    """A store to which one account's funding was really applied."""
    workload = Workload(accounts=[PATTERN], spread="uniform", shards=SHARDS_DEFAULT, at=system_clock())
    store = RecordingStore(SHARDS_DEFAULT)
    rounds = Rounds(
        worker="bench",
        store=store,
        documents=RecordingDocuments(store),
        macs=MacChain({"bench": bytes(32)}),
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
    for event in events:
        payload, metadata = event.payload.decode(), event.metadata.decode()
        await connection.execute(
            COPY_EVENT.format(payload=_copied("$6", grant), metadata=_copied("$7", grant)),
            event.version,
            len(events),
            event.at,
            event.type,
            event.schema_version,
            payload,
            metadata,
            event.mac,
        )
    for _, head in written.batch.heads:
        await connection.execute(COPY_HEAD, head.version, head.mac, head.due_at)
    for collection, changes in written.documents.items():
        names = ("key", "owner", "sort", "doc")
        texts = {name: _copied(f"${number}", grant) for number, name in enumerate(names, start=1)}
        sql = COPY_DOCUMENT.format(table=table_of(collection), **texts)
        for change in changes:
            assert change.doc is not None
            await connection.execute(sql, change.key, change.owner, change.sort, change.doc.decode())
    await connection.execute(SET_SEQS, len(events))


def _grant(events: Sequence[StoredEvent]) -> str:
    """The number of the account's one grant, which is none of the account's own."""
    grants: set[str] = {
        found for event in events for found in re.findall(r"grant_([0-9a-f]{32})", event.payload.decode())
    }
    (grant,) = grants
    return grant


def _copied(text: str, grant: str) -> str:
    return COPIED.format(text=text, hex=HEX, grant=grant)
