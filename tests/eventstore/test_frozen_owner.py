"""A worker that stands still in the middle of a transaction holds its shards no longer than its lease."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from eventstore.errors import Fenced, StoreError, Unavailable
from eventstore.postgres import leases as leases_
from eventstore.postgres.pool import API, WORKER, DirectConnection, session_settings
from eventstore.postgres.store import PostgresStore
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import LEASE_S, appending, claimed, event, write
from tests.shard_log import events_after

LOCK_A_SHARD = "BEGIN; SELECT 1 FROM shard_head WHERE shard = 0 FOR UPDATE"


async def session(url: str, application: str) -> DirectConnection:
    """Another process's connection."""
    return await asyncpg.connect(url, server_settings=session_settings(application))


async def test_a_transaction_frozen_in_mid_copy_is_ended(postgres: PostgresStore, database_url: str) -> None:
    """No timeout of Postgres ends a COPY whose client has stopped; the claim does, and takes all of its shards."""
    frozen = await session(database_url, WORKER)
    copying, resumed = asyncio.Event(), asyncio.Event()

    async def rows() -> AsyncIterator[tuple[object, ...]]:
        copying.set()
        await resumed.wait()
        yield (0, "thing:1", 1, 1, 1, "t", 1, b"", b"", b"")

    await claimed(postgres, "frozen", SHARDS, lease_s=0.0)
    await frozen.execute("BEGIN; SELECT 1 FROM shard_head ORDER BY shard FOR UPDATE")
    copy = asyncio.create_task(frozen.copy_records_to_table("events", records=rows()))
    await copying.wait()
    async with asyncio.timeout(4):
        assert [head.shard for head in await postgres.claim("successor", SHARDS, LEASE_S)] == [0, 1, 2, 3]
    resumed.set()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await copy
    assert frozen.is_closed()
    assert await events_after(postgres, 0, 0, 10) == []


async def test_a_round_that_was_ended_says_so(postgres: PostgresStore) -> None:
    """The resumed worker cannot use the round it was in, and is fenced from the next."""
    leases = await claimed(postgres, "frozen", lease_s=0.0)

    async def resume() -> None:
        async with postgres.round("frozen", leases) as round_:
            assert len(await postgres.claim("successor", SHARDS, LEASE_S)) == SHARDS
            await round_.write(appending([event(0, "thing:1", 1, 1)]))

    with pytest.raises(Unavailable):
        await resume()
    with pytest.raises(Fenced):
        await write(postgres, "frozen", leases, appending([event(0, "thing:1", 1, 1)]))


async def test_a_running_batch_within_its_lease_is_left_alone(postgres: PostgresStore) -> None:
    """A claim takes nothing from a live worker, however long it looks at its locked rows."""
    leases = await claimed(postgres, "living", SHARDS)
    async with postgres.round("living", leases) as round_:
        async with asyncio.timeout(4):
            assert await postgres.claim("hungry", SHARDS, LEASE_S) == []
        await round_.write(appending([event(0, "thing:1", 1, 1)]))
    assert len(await events_after(postgres, 0, 0, 10)) == 1


async def test_a_late_batch_that_commits_in_time_keeps_its_shard(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claimer that already waits for the row finds the lease renewed by the commit, and leaves it."""
    monkeypatch.setattr(leases_, "LOOK_S", 1.0)
    leases = await claimed(postgres, "late", SHARDS, lease_s=0.0)
    await postgres.renew("late", leases, LEASE_S)
    await postgres.pool.fetch("UPDATE shard_head SET lease_until = '-infinity'")
    async with postgres.round("late", leases):
        claiming = asyncio.create_task(postgres.claim("hungry", SHARDS, LEASE_S))
        while not await postgres.pool.fetch("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0)
    assert await claiming == []
    assert {head.owner for head in await postgres.shard_heads()} == {"late"}


@pytest.mark.parametrize("application", [API, "psql"])
async def test_only_workers_are_ended(postgres: PostgresStore, database_url: str, application: str) -> None:
    """Who else holds a row, an operator perhaps, is not ended: the claim goes without that shard, in bounded time."""
    operator = await session(database_url, application)
    await operator.execute(LOCK_A_SHARD)
    async with asyncio.timeout(4):
        assert [head.shard for head in await postgres.claim("w", SHARDS, LEASE_S)] == [1, 2, 3]
    await operator.execute("COMMIT")
    assert [head.shard for head in await postgres.claim("w", SHARDS, LEASE_S)] == [0]
    await operator.close()


async def test_claimers_that_wait_for_the_same_row_do_not_end_each_other(
    postgres: PostgresStore, database_url: str
) -> None:
    """Of many that wait for a frozen owner one gets the shard, and the others hear that it is taken."""
    frozen = await session(database_url, WORKER)
    await claimed(postgres, "frozen", SHARDS, lease_s=0.0)
    await frozen.execute("BEGIN; SELECT 1 FROM shard_head ORDER BY shard FOR UPDATE")
    others = [await PostgresStore.open(database_url, WORKER) for _ in range(4)]
    results = await asyncio.gather(
        *(store.claim(f"w{number}", SHARDS, LEASE_S) for number, store in enumerate(others)), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, BaseException)] == []
    taken = [head.shard for heads in results if not isinstance(heads, BaseException) for head in heads]
    assert sorted(taken) == [0, 1, 2, 3]
    frozen.terminate()
    for store in others:
        await store.close()


async def test_who_died_holding_a_claimed_value_lets_go(postgres: PostgresStore, database_url: str) -> None:
    """A value taken in a frozen transaction is free when that transaction is ended; until then others time out."""
    frozen = await session(database_url, WORKER)
    leases = await claimed(postgres, "living", lease_s=LEASE_S)
    await frozen.execute(
        "BEGIN; INSERT INTO claims (kind, value, shard, stream, command_id) VALUES ('email', 'a', 1, 'user:1', 'c')"
    )
    insert = "INSERT INTO claims (kind, value, shard, stream, command_id) VALUES ('email', 'a', 0, 'user:0', 'd')"

    async def take() -> None:
        async with postgres.round("living", leases) as round_:
            await round_.fetch(insert)

    with pytest.raises(StoreError):
        await take()
    frozen.terminate()
    async with asyncio.timeout(4):
        while True:
            try:
                await take()
                break
            except StoreError:
                continue


async def test_what_was_claimed_is_kept_when_a_locked_shard_cannot_be_had(
    postgres: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are ours by then: forgotten, they would stand still until their leases end."""
    monkeypatch.setattr(leases_, "END_BLOCKERS", "SELECT 1 / 0, $1::integer, $2::integer, $3::text, $4::integer[]")
    other = await session(database_url, API)
    try:
        await other.execute(LOCK_A_SHARD)
        assert [head.shard for head in await postgres.claim("w", SHARDS, LEASE_S)] == [1, 2, 3]
    finally:
        await other.close()
