"""The tables of documents in Postgres: made by whoever migrates, read by index, strict about JSON."""

import asyncio

import pytest

from eventstore.errors import DataError
from eventstore.postgres.migrations import connect, migrate
from projections.document_tables import migrate_documents
from projections.registry import all_projections
from tests.eventstore.rows import claimed
from tests.projections.conftest import SHARDS, Opened, change, open_documents, projection_of


@pytest.mark.parametrize("doc", [b'{"a":"\\u0000"}', b"{", b"\xff", b'{"a":"\\ud800"}'])
async def test_a_document_that_jsonb_refuses_is_a_data_error(database_url: str, doc: bytes) -> None:
    """The culprit can be found and set aside; nothing of its round is left."""
    store, documents = await open_documents(database_url)
    opened = Opened(store, documents, await claimed(store, "w", SHARDS))
    with pytest.raises(DataError):
        await opened.save([change("good"), change("bad", doc=doc)])
    assert await documents.get("things", 0, "good") is None
    await store.close()


async def test_tables_are_made_for_every_projection_by_whoever_migrates(database_url: str) -> None:
    """Making them again, or at once, changes nothing; an index that is not needed any more goes."""
    connection = await connect(database_url)
    await migrate(connection)
    others = [await connect(database_url) for _ in range(4)]
    await asyncio.gather(*(migrate_documents(each) for each in [connection, *others]))
    await migrate_documents(connection)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE tablename LIKE 'rm\\_%' ORDER BY 1")
    assert [row[0] for row in tables] == [f"rm_{collection}" for collection in all_projections()]
    for wanted, kept in (
        ({"found_by_key": True, "followed": True, "listed_everywhere": True}, ["by_key", "newest", "owned_everywhere"]),
        ({}, ["owned"]),
        ({"listed": False}, []),
    ):
        await migrate_documents(connection, [projection_of("things", **wanted)])
        found = await connection.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'rm_things' ORDER BY 1")
        assert [row[0] for row in found] == sorted(f"rm_things_{each}" for each in [*kept, "pkey"])
    for each in [connection, *others]:
        await each.close()


async def test_every_reading_is_by_index(database_url: str) -> None:
    """No listing reads a whole table, even before its first ANALYZE."""
    store, _ = await open_documents(database_url)
    queries = {
        "things_owned": "SELECT doc FROM rm_things WHERE shard = 1 AND owner = 'o' AND (sort, key) < ('a', 'b') "
        "ORDER BY sort DESC, key DESC LIMIT 5",
        "spread_owned_everywhere": "SELECT doc FROM rm_spread WHERE owner = 'o' AND (sort, key) < ('a', 'b') "
        "ORDER BY sort DESC, key DESC LIMIT 5",
        "found_by_key": "SELECT doc FROM rm_found WHERE key = 'k' LIMIT 1",
        "followed_newest": "SELECT doc FROM rm_followed WHERE shard = 1 AND sort > 'a' ORDER BY sort, key LIMIT 5",
    }
    for index, query in queries.items():
        plan = "\n".join(row[0] for row in await store.pool.fetch(f"EXPLAIN {query}"))
        assert f"using rm_{index}" in plan
        assert "Sort" not in plan
    await store.close()
