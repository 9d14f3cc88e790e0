"""Read models carry the version of the projection that made them; who does not fit waits, and says what to run."""

from eventstore.postgres.migrations import connect, migrate
from eventstore.postgres.pool import WORKER, DirectConnection
from eventstore.postgres.store import PostgresStore
from projections.document_tables import migrate_documents, unknown_collections
from projections.memory import MemoryDocuments
from projections.postgres import PostgresDocuments
from projections.registry import all_projections
from projections.versions import why_unreadable, why_unwritable
from tests.projections.conftest import projection_of

WRITTEN = "UPDATE shard_head SET seq = 1 WHERE shard = 0"
VERSIONS = "SELECT collection, version FROM read_models ORDER BY 1"
EPOCHS = "SELECT array_agg(epoch ORDER BY shard) FROM shard_head"


async def stored(connection: DirectConnection) -> dict[str, int]:
    """What the table says."""
    return {row["collection"]: row["version"] for row in await connection.fetch(VERSIONS)}


async def test_a_fresh_database_has_nothing_to_rebuild(database_url: str) -> None:
    """All read models of an empty log are complete, of this release and of the next, and both may be migrated again."""
    connection = await connect(database_url)
    await migrate(connection, shards=3)
    later = projection_of("things")
    later.version = 2
    for projections in ([projection_of("things"), projection_of("found")], [later, projection_of("more")]):
        for _ in range(2):
            assert await migrate_documents(connection, projections) == []
            assert await stored(connection) == {each.collection: each.version for each in projections}
    await connection.close()


async def test_a_log_with_events_needs_a_rebuild(database_url: str) -> None:
    """Of what is new or of another version; a release before that is migrated again by mistake takes nothing away."""
    connection = await connect(database_url)
    await migrate(connection, shards=3)
    await migrate_documents(connection, [projection_of("things"), projection_of("found")])
    await connection.execute(WRITTEN)
    epochs = await connection.fetchval(EPOCHS)
    later = projection_of("things")
    later.version = 2
    assert await migrate_documents(connection, [later, projection_of("more")]) == ["more", "things"]
    assert await migrate_documents(connection, [projection_of("things")]) == []
    assert await stored(connection) == {"things": 1, "found": 1}
    assert await connection.fetchval(EPOCHS) == epochs, "nobody is disturbed"
    await connection.close()


async def test_what_is_forgotten_has_to_be_made_again(database_url: str) -> None:
    """Whoever keeps it is fenced, and finds out; forgetting what is not there disturbs nobody."""
    connection = await connect(database_url)
    await migrate(connection, shards=3)
    both = [projection_of("things"), projection_of("found")]
    await migrate_documents(connection, both)
    await connection.execute(WRITTEN)
    [epoch, *_] = await connection.fetchval(EPOCHS)
    assert await unknown_collections(connection, ["found", "never", "things"]) == ["never"]
    for _ in range(2):
        assert await migrate_documents(connection, [projection_of("things")], forget=["found", "never"]) == []
        assert await stored(connection) == {"things": 1}
        assert await connection.fetchval(EPOCHS) == 3 * [epoch + 1]
    assert await migrate_documents(connection, both) == ["found"]
    await connection.close()


async def test_who_takes_over_an_empty_log_fences_who_was_there(database_url: str) -> None:
    """A worker of another release may be about to write its first event."""
    connection = await connect(database_url)
    await migrate(connection, shards=3)
    assert await connection.fetchval(EPOCHS) == [0, 0, 0]
    for _ in range(2):
        await migrate_documents(connection, [projection_of("things")])
        assert await connection.fetchval(EPOCHS) == [1, 1, 1]
    await connection.close()


async def test_memory_fits_its_own_release() -> None:
    """What this process has made it may read and write."""
    assert await why_unreadable(MemoryDocuments()) is await why_unwritable(MemoryDocuments()) is None


async def test_a_database_fits_the_release_that_made_it(database_url: str) -> None:
    """Of another release's, a reader needs its own collections, and a writer has to know all of them."""
    connection = await connect(database_url)
    await migrate(connection, shards=3)
    await migrate_documents(connection)
    store = await PostgresStore.open(database_url, WORKER)
    documents = PostgresDocuments(store.pool)
    assert await documents.versions() == {name: each.version for name, each in all_projections().items()}
    assert await why_unreadable(documents) is await why_unwritable(documents) is None
    await connection.execute("UPDATE read_models SET version = 0 WHERE collection IN ('users', 'holds')")
    for reason in (await why_unreadable(documents), await why_unwritable(documents)):
        assert reason is not None
        assert "holds, users are not of this release: run `python -m worker rebuild holds users`" in reason
    await migrate_documents(connection)
    await connection.execute("UPDATE read_models SET version = $1 WHERE collection = 'users'", 0)
    await connection.execute("INSERT INTO read_models VALUES ('moods', 1)")
    assert "rebuild users`" in str(await why_unreadable(documents)), "another's collections do not matter to a reader"
    assert "does not know the read models moods." in str(await why_unwritable(documents))
    await connection.execute("UPDATE read_models SET version = 1000 WHERE collection = 'users'")
    assert "users are its own. Stop this process" in str(await why_unreadable(documents))
    await connection.close()
    await store.close()
