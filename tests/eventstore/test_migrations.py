"""Tables are made once, whoever does it, and fit the release that uses them."""

import asyncio

import pytest
from msgspec.structs import replace

from eventstore.errors import Unmigrated
from eventstore.postgres import migrations
from eventstore.postgres.migrations import LEVEL, Migrated, connect, migrate
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.shards import SHARDS_DEFAULT
from tests.eventstore.rows import appending, claimed, event, outcome, write


@pytest.fixture
def prepare() -> None:
    """Each test has a database without any tables."""


async def migrated(url: str, *, shards: int | None = None, activate: bool = False) -> Migrated:
    """One run of `python -m worker migrate`."""
    connection = await connect(url)
    try:
        return await migrate(connection, shards=shards, activate=activate)
    finally:
        await connection.close()


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    """The second run applies nothing, and keeps the number of shards."""
    first = await migrated(database_url)
    assert first.applied == tuple(migrations.migrations())
    assert (first.shards, first.level) == (SHARDS_DEFAULT, LEVEL)
    assert await migrated(database_url) == Migrated(applied=(), shards=SHARDS_DEFAULT, level=LEVEL)


async def test_migrating_at_once_applies_each_migration_once(database_url: str) -> None:
    """Processes that start together need no one to go first."""
    runs = await asyncio.gather(*(migrated(database_url, shards=8) for _ in range(6)))
    applied = [name for run in runs for name in run.applied]
    assert sorted(applied) == sorted(migrations.migrations())
    assert {run.shards for run in runs} == {8}


async def test_the_number_of_shards_is_for_life(database_url: str) -> None:
    """Another number than the first is refused: every stream's place depends on it."""
    await migrated(database_url, shards=4)
    with pytest.raises(Unmigrated, match="4 shards"):
        await migrated(database_url, shards=8)
    assert (await migrated(database_url, shards=4)).shards == 4


async def test_the_level_is_raised_by_an_operator_only(database_url: str) -> None:
    """After an upgrade the old level stays, so that the release before still reads everything, until `--activate`."""
    await migrated(database_url)
    store = await PostgresStore.open(database_url, WORKER)
    await store.pool.fetch("UPDATE meta SET level = 0")
    assert (await migrated(database_url)).level == 0
    assert await store.level() == 0
    assert (await migrated(database_url, activate=True)).level == LEVEL
    assert await store.level() == LEVEL
    await store.close()


async def test_a_release_refuses_a_database_that_does_not_fit(database_url: str) -> None:
    """Missing migrations, or a level of a newer release: `Unmigrated`. More migrations than ours are no reason."""
    await migrated(database_url)
    store = await PostgresStore.open(database_url, WORKER)
    await store.pool.fetch("INSERT INTO migrations (name) VALUES ('9999_of_the_next_release')")
    assert await store.shards() == SHARDS_DEFAULT
    await store.pool.fetch("UPDATE meta SET level = $1", LEVEL + 1)
    with pytest.raises(Unmigrated, match="upgrade"):
        await store.shards()
    await store.pool.fetch("UPDATE meta SET level = $1", LEVEL)
    await store.pool.fetch("DELETE FROM migrations WHERE name = $1", next(iter(migrations.migrations())))
    with pytest.raises(Unmigrated, match="worker migrate"):
        await store.shards()
    await store.close()


async def test_operators_read_the_log_with_sql(database_url: str) -> None:
    """Views show payloads and answers as JSON and times as times."""
    await migrated(database_url, shards=4)
    store = await PostgresStore.open(database_url, WORKER)
    leases = await claimed(store, "w")
    readable = replace(event(0, "thing:1", 1, 1), payload=b'{"amount": 5}')
    batch = appending([readable])
    batch.outcomes = [outcome(0, "command")]
    await write(store, "w", leases, batch)
    [row] = await store.pool.fetch("SELECT payload ->> 'amount' AS amount, at FROM events_readable")
    assert row["amount"] == "5"
    assert row["at"].timestamp() == pytest.approx(readable.at / 1_000_000)
    [row] = await store.pool.fetch("SELECT data::text FROM outcomes_readable")
    assert row["data"] == "{}"
    await store.close()
