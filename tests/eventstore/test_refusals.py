"""What was refused is on record by its acting account, the newest first."""

import pytest
from msgspec.structs import replace

from eventstore.records import Batch, Refusal
from eventstore.store import Store
from tests.eventstore.rows import claimed, write

ONE = Refusal(
    shard=0,
    command_id="c1",
    attempt="a1",
    account="user_1",
    at=1,
    command="thing.do",
    code="not_now",
    actor=b'{"kind":"user","id":"user_1"}',
    mac=b"k:\x00\xff",
)


async def test_refusals_are_listed_by_account_over_all_shards(store: Store) -> None:
    """Page by page in one order, whatever shard each is on; others' do not appear, nor a repeat a second time."""
    leases = await claimed(store, "w", 4)
    mine = [
        replace(ONE, shard=leases[number % 4].shard, command_id=f"c{number}", at=number // 2) for number in range(9)
    ]
    theirs = replace(ONE, command_id="c9", account="user_2")
    await write(store, "w", leases, Batch(refusals=[*mine, theirs]))
    await write(store, "w", leases, Batch(refusals=[replace(mine[0], code="repeated")]))
    walked: list[Refusal] = []
    after: tuple[int, str] | None = None
    while page := await store.refusals("user_1", limit=2, after=after):
        walked += page
        after = (page[-1].at, page[-1].command_id)
    assert walked == mine[::-1]
    assert await store.refusals("user_2", limit=5) == [theirs]
    assert await store.refusals("nobody", limit=5) == []


async def test_attempts_at_one_command_are_apart(store: Store) -> None:
    """A refusal that was cured stays on record beside the next one."""
    [lease] = await claimed(store, "w")
    second = replace(ONE, attempt="a2", at=2)
    await write(store, "w", [lease], Batch(refusals=[ONE, second]))
    assert await store.refusals("user_1", limit=5) == [second, ONE]


async def test_a_rolled_back_round_leaves_none(store: Store) -> None:
    """What was not decided was not refused."""
    [lease] = await claimed(store, "w")

    async def fail() -> None:
        async with store.round("w", [lease]) as round_:
            await round_.write(Batch(refusals=[ONE]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.refusals("user_1", limit=5) == []
