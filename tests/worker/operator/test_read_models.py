"""Workers of two releases beside each other: at any time those write whose projections made the read models."""

import pytest

from eventstore.postgres.migrations import connect
from projections.document_tables import migrate_documents
from projections.registry import all_projections
from tests.crash.waiting import until
from tests.worker.operator.yard import Yard, grant
from worker.migrate import migrate
from worker.operating import NotDone
from worker.rebuild import rebuild
from worker.verify import verify

NEWER = """
WITH newer AS (INSERT INTO read_models VALUES ('moods', 1))
UPDATE shard_head SET owner = NULL, epoch = epoch + 1
"""
OWNERS = "SELECT DISTINCT owner FROM shard_head"
ALIVE = "SELECT worker FROM workers WHERE alive_until > clock_timestamp()"


async def test_a_worker_stops_when_a_newer_release_takes_over(yard: Yard) -> None:
    """It gives everything up, is counted no more, writes nothing, and goes on if its release comes back."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a"))

        async def nobody() -> bool:
            return [row["owner"] for row in await yard.rows(OWNERS)] == [None] and not await yard.rows(ALIVE)

        await yard.rows(NEWER)
        await until(nobody, 20, "shards without a worker")
        waiting = await yard.ask("account:user_1", grant("user_1", "b"))
        assert await nobody()
        with pytest.raises(NotDone, match="this release keeps credits"):
            await migrate(yard.settings, shards=None, activate=False, forget=["credits", "moods"])
        connection = await connect(yard.settings.database_url)
        await migrate_documents(connection, forget=["moods"])
        await connection.close()
        await yard.outcome(waiting)
    assert "no difference" in await verify(yard.settings)


async def test_a_worker_waits_for_the_rebuild_it_needs(yard: Yard) -> None:
    """Of a new and of a changed read model; with the exchange it begins, and folds on from the new documents."""
    async with yard.working():
        await yard.fill(accounts=4, operations=10)
    await yard.rows("UPDATE read_models SET version = 0 WHERE collection = 'credits'")
    await yard.rows("DELETE FROM read_models WHERE collection = 'holds'")
    async with yard.working():
        waiting = await yard.ask("account:user_1", grant("user_1", "late"))
        assert [row["owner"] for row in await yard.rows(OWNERS)] == [None]
        await rebuild(yard.settings, collections=["credits"])
        assert [row["owner"] for row in await yard.rows(OWNERS)] == [None]
        await rebuild(yard.settings, collections=["holds"])
        await yard.outcome(waiting)
    versions = {row["collection"]: row["version"] for row in await yard.rows("SELECT * FROM read_models")}
    assert versions == {name: projection.version for name, projection in all_projections().items()}
    assert "no difference" in await verify(yard.settings)
