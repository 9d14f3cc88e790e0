"""After a restore that brought keys back, they go again before anything is served."""

import pytest

from domain.erasure import EraseUser
from eventstore.errors import KeyErased
from eventstore.postgres import migrations
from eventstore.postgres.data_keys import erase_again
from eventstore.records import DataKey
from tests.worker.operator.yard import Yard, register
from worker.run import check_erasures

KEYS = [DataKey(subject=f"{kind}:user_1", master_id="m", wrapped=b"secret") for kind in ("user", "account")]
OTHER = DataKey(subject="user:user_2", master_id="m", wrapped=b"other")


async def _restored(yard: Yard) -> None:
    """The log has the erasure of `user_1`; keys, claim and other people are of a backup from before it."""
    for key in (*KEYS, OTHER):
        await yard.store.add_data_key(key)
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
        await yard.apply("user:user_2", register("user_2"))
        claims = await yard.rows("SELECT * FROM claims WHERE stream = 'user:user_1'")
        await yard.apply("user:user_1", EraseUser())
    assert await yard.store.data_key("user:user_1") is None
    assert not await yard.rows("SELECT 1 FROM claims WHERE stream = 'user:user_1'")
    for key in KEYS:
        sql = "UPDATE data_keys SET master_id = $2, wrapped = $3 WHERE subject = $1"
        await yard.rows(sql, key.subject, key.master_id, key.wrapped)
    await yard.rows("INSERT INTO claims VALUES ($1, $2, $3, $4, $5)", *claims[0].values())
    assert await yard.store.data_key("user:user_1") == KEYS[0]


async def _are_gone(yard: Yard) -> None:
    for key in KEYS:
        assert await yard.store.data_key(key.subject) is None
        with pytest.raises(KeyErased):
            await yard.store.add_data_key(key)
    assert await yard.store.data_key("user:user_2") == OTHER
    assert [row["stream"] for row in await yard.rows("SELECT stream FROM claims")] == ["user:user_2"]


async def test_migrate_erases_again(yard: Yard) -> None:
    """As the operator runs it, on a connection of its own; the second time there is nothing to do."""
    await _restored(yard)
    connection = await migrations.connect(yard.settings.database_url)
    try:
        assert [await erase_again(connection), await erase_again(connection)] == [2, 0]
    finally:
        await connection.close()
    await _are_gone(yard)


async def test_a_worker_erases_again_before_it_works(yard: Yard) -> None:
    """At its start, whatever the operator has forgotten."""
    await _restored(yard)
    await check_erasures(yard.store)
    await _are_gone(yard)
