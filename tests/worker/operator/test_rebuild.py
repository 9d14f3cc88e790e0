"""`rebuild`: the read models that the log makes again are the live ones, whatever happens meanwhile (I5)."""

import asyncio

import pytest

from eventstore.errors import Unavailable
from eventstore.postgres.migrations import connect
from eventstore.postgres.pool import DirectConnection
from projections.comparison import Difference, compare_digests
from projections.credits import PROJECTION as CREDITS
from projections.credits import get_credits
from projections.holds import PROJECTION as HOLDS
from projections.postgres import PostgresDocuments
from projections.rebuild_tables import drop_old, lock_collections, move
from projections.users import PROJECTION as USERS
from tests.worker.operator.yard import SHARDS, Yard, grant
from worker import rebuild_shard
from worker.operating import NotDone
from worker.rebuild import rebuild
from worker.verify import verify

pytestmark = pytest.mark.slow


async def test_a_rebuild_makes_every_document_again(yard: Yard) -> None:
    """I5: owner, sort and document of all collections are what the worker had written."""
    async with yard.working():
        await yard.fill()
        before = await yard.documents()
        said = await rebuild(yard.settings, collections=[])
        assert "all were as before" in said
        assert await yard.documents() == before
        assert all(before[each] for each in ("audit", "credits", "holds", "transactions", "usage_days", "users"))


async def test_a_rebuild_under_load_equals_live(yard: Yard) -> None:
    """I5: while clients go on, all collections are exchanged, no command is lost, and nothing differs afterwards."""
    async with yard.working():
        await yard.fill()
        async with yard.load(accounts=10) as sent:
            for _ in range(3):
                assert "all were as before" in await rebuild(yard.settings, collections=[])
        assert len(sent) > 100
        assert "no difference" in await verify(yard.settings)


async def test_no_snapshot_outlives_a_collections_comparison(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted meanwhile can be vacuumed: each collection is compared in a transaction of its own."""
    begun = []

    async def compared(connection: DirectConnection, collection: str, *, live: str, made: str) -> list[Difference]:
        begun.append(await connection.fetchval("SELECT now()"))
        return await compare_digests(connection, collection, live=live, made=made)

    monkeypatch.setattr("worker.rebuild.compare_digests", compared)
    async with yard.working():
        await yard.fill(accounts=2, operations=5)
        assert "all were as before" in await rebuild(yard.settings, collections=["credits", "holds", "users"])
    assert len(set(begun)) == 3


async def test_what_was_wrong_is_put_right(yard: Yard) -> None:
    """Documents that are missing, surplus or changed are named, and are right afterwards."""
    async with yard.working():
        await yard.fill()
        before = await yard.documents()
        await yard.rows("DELETE FROM rm_holds WHERE key = (SELECT min(key) FROM rm_holds)")
        await yard.rows("INSERT INTO rm_holds VALUES (0, 'hold_surplus', 'nobody', '', '{}')")
        await yard.rows("UPDATE rm_credits SET doc = doc || '{\"balance\": 5}' WHERE key = 'user_3'")
        said = await rebuild(yard.settings, collections=["holds", "credits"])
        assert "credits: 1 documents, such as user_3 (another document)" in said
        assert "holds: 2 documents" in said
        assert await yard.documents() == before


@pytest.mark.parametrize(("cut", "stream_max"), [(1, 3), (2, 3), (6, 3), (6, 20), (11, 3), (11, 20), (17, 7)])
async def test_an_interrupted_rebuild_goes_on_where_it_was(
    yard: Yard, cut: int, stream_max: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut after any chunk, in the midst of a stream too, it resumes, and nothing is folded twice or left out."""
    async with yard.working():
        await yard.fill(accounts=5, operations=50)
        before = await yard.documents()
        monkeypatch.setattr(rebuild_shard, "CHUNK", 3)
        monkeypatch.setattr(rebuild_shard, "STREAM_MAX", stream_max)
        left = iter(range(cut))

        async def failing_move(*arguments: object) -> None:
            if next(left, None) is None:
                raise Unavailable("the machine was switched off")
            await move(*arguments)  # type: ignore[arg-type]  # handed on as they are

        interrupted = pytest.MonkeyPatch()
        interrupted.setattr(rebuild_shard, "move", failing_move)
        with pytest.raises(Unavailable):
            await rebuild(yard.settings, collections=[])
        interrupted.undo()
        begun = await yard.rows("SELECT 1 FROM rebuild_progress WHERE stream <> '' OR seq > 0")
        await yard.fill(accounts=5, operations=10)
        after = await yard.documents()
        assert "all were as before" in await rebuild(yard.settings, collections=[])
        assert ("rebuild resumed" in capsys.readouterr().err) == bool(begun)
        assert begun or cut < 3, "each of the shards that go side by side may lose one chunk"
        assert await yard.documents() == after != before


async def test_other_collections_begin_anew(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shared by those that were begun together: with another beside them all begin from the start."""
    async with yard.working():
        await yard.fill()
        before = await yard.documents()

        async def no_finish(*_: object) -> None:
            raise Unavailable("the machine was switched off")

        with monkeypatch.context() as patched:
            patched.setattr("worker.rebuild.finish_table", no_finish)
            with pytest.raises(Unavailable):
                await rebuild(yard.settings, collections=["credits"])
        assert "all were as before" in await rebuild(yard.settings, collections=["credits", "holds"])
        assert await yard.documents() == before
        assert await yard.rows("SELECT * FROM rebuild_progress") == []


async def test_a_second_rebuild_of_a_collection_refuses(yard: Yard) -> None:
    """Two operators at once: the second is told, and other collections are free."""
    async with yard.working():
        await yard.fill(accounts=2, operations=5)
        connection = await connect(yard.settings.database_url)
        try:
            await lock_collections(connection, ["credits"])
            with pytest.raises(NotDone, match="credits is being rebuilt by somebody else"):
                await rebuild(yard.settings, collections=["credits", "holds"])
            assert "rebuilt holds" in await rebuild(yard.settings, collections=["holds"])
        finally:
            await connection.close()
        assert "rebuilt credits" in await rebuild(yard.settings, collections=["credits"])


async def test_a_backup_and_the_old_tables_are_not_in_each_others_way(yard: Yard) -> None:
    """Whoever reads one of them while they are removed may go on to any other; what is in use goes with the next."""
    connection, backup = [await connect(yard.settings.database_url) for _ in range(2)]
    try:
        for name in ("credits", "holds", "users"):
            await connection.execute(f"CREATE TABLE rm_{name}__old ()")
        async with backup.transaction():
            await backup.execute("LOCK TABLE rm_holds__old IN ACCESS SHARE MODE")
            removing = asyncio.create_task(drop_old(connection, [CREDITS, HOLDS, USERS]))
            while not await yard.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert not removing.done()
            for name in ("credits", "users"):
                await backup.fetchval("SELECT pg_relation_size(to_regclass($1))", f"rm_{name}__old")
            assert await removing == ["rm_holds__old"]
            with pytest.raises(NotDone, match="rm_holds__old is still in use"):
                await rebuild(yard.settings, collections=["holds"])
        assert await drop_old(connection, [CREDITS, HOLDS, USERS]) == []
    finally:
        await backup.close()
        await connection.close()


async def test_a_fold_that_fails_leaves_the_live_ones(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose read model cannot fold the log is named with the event, and changes nothing."""
    async with yard.working():
        await yard.fill(accounts=2, operations=5)
        before = await yard.documents()

        def broken(*_: object) -> None:
            raise KeyError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(CREDITS, "evolve", broken)
            with pytest.raises(NotDone, match="credits cannot fold CreditsGranted, version 1 of account:user_"):
                await rebuild(yard.settings, collections=["credits"])
        assert await yard.documents() == before


async def test_a_log_with_a_gap_is_named(yard: Yard) -> None:
    """Nothing is exchanged for what is made of a part of the log."""
    async with yard.working():
        await yard.fill(accounts=2, operations=5)
    before = await yard.documents()
    await yard.rows("DELETE FROM events WHERE (shard, seq) = (SELECT shard, min(seq) FROM events GROUP BY 1 LIMIT 1)")
    with pytest.raises(NotDone, match="gaps"):
        await rebuild(yard.settings, collections=["users"])
    assert await yard.documents() == before


async def test_an_unknown_collection_is_refused(yard: Yard) -> None:
    """A typing error does nothing, and shows what there is."""
    with pytest.raises(NotDone, match=r"there is no read model credit; there are .*credits, .*emails"):
        await rebuild(yard.settings, collections=["credit"])


async def test_readers_see_a_whole_read_model_at_any_time(yard: Yard) -> None:
    """While tables are exchanged, a reader finds every document that was there before."""
    async with yard.working():
        await yard.fill(accounts=4, operations=10)
        documents, misses, reads, done = PostgresDocuments(yard.store.pool), [], 0, asyncio.Event()

        async def read() -> None:
            nonlocal reads
            while not done.is_set():
                found = await get_credits(documents, SHARDS, "user_1")
                reads += 1
                if found.balance == 0:
                    misses.append(found)

        reader = asyncio.create_task(read())
        for _ in range(3):
            await rebuild(yard.settings, collections=["credits"])
        done.set()
        await reader
        assert misses == []
        assert reads > 10


async def test_workers_fold_on_from_the_rebuilt_documents(yard: Yard) -> None:
    """No lane goes on from a document that it remembers from the table before."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a", 1_000))
        await yard.rows("UPDATE rm_credits SET doc = doc || '{\"balance\": 7}'")
        await rebuild(yard.settings, collections=["credits"])
        await yard.apply("account:user_1", grant("user_1", "b", 1_000))
        found = await get_credits(PostgresDocuments(yard.store.pool), SHARDS, "user_1")
        assert found.balance == 2_000
        assert "no difference" in await verify(yard.settings)
