"""What Postgres and its driver raise reaches the worker as one of four answers."""

import asyncio

import pytest
from msgspec import Raw
from msgspec.structs import replace

from devnet.servers import PostgresServer
from eventstore.errors import DataError, StoreError, Unavailable, Unmigrated, VersionConflict
from eventstore.postgres import pool
from eventstore.postgres.pool import API, WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.records import Batch, Lease, Progress, StreamHead
from tests.eventstore.rows import appending, claimed, dead_letter, event, outcome, write
from tests.shard_log import events_after

GOOD = event(0, "thing:1", 1, 1)
HUGE = 2**63
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize(
    "batch",
    [
        appending([replace(GOOD, type="nul\x00")]),
        appending([replace(GOOD, type="lone \ud800 surrogate")]),
        appending([replace(GOOD, at=HUGE)]),
        appending([replace(GOOD, schema_version=2**31)]),
        appending([replace(GOOD, payload="text")]),
        Batch(heads=[(0, StreamHead(shard=0, stream="nul\x00", version=1, mac=b""))]),
        Batch(heads=[(0, StreamHead(shard=0, stream="thing:1", version=HUGE, mac=b""))]),
        Batch(outcomes=[outcome(0, "nul\x00")]),
        Batch(outcomes=[outcome(0, "\ud800")]),
        Batch(outcomes=[outcome(0, "command", at=-HUGE - 1)]),
        Batch(dead_letters=[dead_letter(0, 1, detail="nul\x00")]),
        Batch(progress=[Progress(shard=0, next_offset=HUGE, seq=0, last_digest=b"")]),
        Batch(outcomes=[outcome(0, "".join(map(chr, range(20_000, 50_000))))]),
    ],
)
async def test_a_value_that_cannot_be_written_is_a_data_error(postgres: PostgresStore, batch: Batch) -> None:
    """NUL, invalid Unicode, numbers and keys that are too large: the batch is refused whole, the store goes on."""
    leases = await claimed(postgres, "w")
    with pytest.raises(DataError) as refused:
        await write(postgres, "w", leases, batch)
    assert "nul" not in str(refused.value)
    await write(postgres, "w", leases, appending([GOOD]))


async def test_data_keeps_what_json_texts_may_hold(postgres: PostgresStore) -> None:
    """Payloads and answers are bytes: an escaped NUL in their JSON is not the database's business."""
    leases = await claimed(postgres, "w")
    data = b'{"text":"\\u0000"}'
    batch = appending([replace(GOOD, payload=data)])
    batch.outcomes = [outcome(0, "command", data=Raw(data))]
    await write(postgres, "w", leases, batch)
    assert (await events_after(postgres, 0, 0, 1))[0].payload == data
    assert bytes((await postgres.read_outcomes([(0, "command")]))["command"].data) == data


async def test_an_event_that_is_there_already_is_a_conflict(postgres: PostgresStore) -> None:
    """The log's keys are the last line of defence against a second writer."""
    leases = await claimed(postgres, "w")
    await write(postgres, "w", leases, appending([GOOD]))
    with pytest.raises(VersionConflict):
        await write(postgres, "w", leases, Batch(events=[GOOD]))
    with pytest.raises(VersionConflict):
        await write(postgres, "w", leases, Batch(events=[event(0, "thing:2", 1, 1)]))


async def test_an_embrace_is_a_conflict(postgres: PostgresStore) -> None:
    """Two rounds that wait for each other: Postgres ends one, which is decided again."""
    leases = await claimed(postgres, "w", 2)
    barrier = asyncio.Barrier(2)

    async def embrace(lease: Lease, first: str, second: str) -> None:
        async with postgres.round("w", [lease]) as round_:
            await round_.fetch("SELECT pg_advisory_xact_lock(hashtext($1))", first)
            await barrier.wait()
            await round_.fetch("SELECT pg_advisory_xact_lock(hashtext($1))", second)

    results = await asyncio.gather(embrace(leases[0], "a", "b"), embrace(leases[1], "b", "a"), return_exceptions=True)
    failures = [result for result in results if result is not None]
    assert len(failures) == 1
    assert isinstance(failures[0], VersionConflict | Unavailable)


async def test_an_ended_connection_is_replaced(postgres: PostgresStore, database_url: str) -> None:
    """A backend that is ended, in a round or idle, costs one call at most; the next one connects anew."""
    leases = await claimed(postgres, "w")
    other = await PostgresStore.open(database_url, API)

    async def cut() -> None:
        async with postgres.round("w", leases) as round_:
            await other.pool.fetch(END_OTHERS, WORKER)
            await round_.write(appending([GOOD]))

    with pytest.raises(Unavailable):
        await cut()
    await write(postgres, "w", leases, appending([GOOD]))
    await other.pool.fetch(END_OTHERS, WORKER)
    async with asyncio.timeout(5):
        while True:
            try:
                assert len(await events_after(postgres, 0, 0, 10)) == 1
                break
            except Unavailable:
                continue
    await other.close()


async def test_a_server_that_is_away_is_unavailable(database_url: str) -> None:
    """Opening a store connects to nothing; each call says that the server cannot be reached, or not entered."""
    nowhere = await PostgresStore.open("postgresql://127.0.0.1:1/nothing", WORKER)
    with pytest.raises(Unavailable):
        await nowhere.shards()
    with pytest.raises(Unavailable):
        await claimed(nowhere, "w")
    await nowhere.close()
    missing = await PostgresStore.open(database_url + "_missing", WORKER)
    with pytest.raises(Unavailable):
        await missing.shards()
    await missing.close()


async def test_closing_cuts_what_does_not_end(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is still in use, or stands still, keeps no process from ending."""
    monkeypatch.setattr(pool, "CLOSE_TIMEOUT_S", 0.1)
    opened = await pool.Pool.open(database_url, API, connections_max=1)
    await opened.acquire()
    async with asyncio.timeout(5):
        await opened.close()
    with pytest.raises(Unavailable):
        await opened.fetch("SELECT 1")


@pytest.mark.crash
async def test_a_restarted_server_is_found_again(postgres: PostgresStore, postgres_server: PostgresServer) -> None:
    """After a crash of Postgres the same store goes on, and what was committed is there."""
    leases = await claimed(postgres, "w")
    await write(postgres, "w", leases, appending([GOOD]))
    postgres_server.kill()
    with pytest.raises(Unavailable):
        await postgres.shards()
    postgres_server.start()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await events_after(postgres, 0, 0, 10) == [GOOD]
                break
            except Unavailable:
                await asyncio.sleep(0.01)
    await write(postgres, "w", leases, appending([event(0, "thing:1", 2, 2)], expected=1))


async def test_a_database_without_tables_is_unmigrated(postgres_server: PostgresServer) -> None:
    """The error says what to do."""
    store = await PostgresStore.open(postgres_server.url, WORKER)
    with pytest.raises(Unmigrated, match="worker migrate"):
        await store.shards()
    with pytest.raises(StoreError):
        await claimed(store, "w")
    await store.close()


async def test_many_rounds_share_few_connections(postgres: PostgresStore) -> None:
    """More callers than connections wait for one another instead of failing."""
    leases = await claimed(postgres, "w")

    async def read() -> int:
        return len(await events_after(postgres, 0, 0, 10))

    await write(postgres, "w", leases, appending([GOOD]))
    assert set(await asyncio.gather(*(read() for _ in range(100)))) == {1}
