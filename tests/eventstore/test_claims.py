"""A claimed value has one holder."""

import asyncio

from eventstore.errors import VersionConflict
from eventstore.postgres.store import PostgresStore
from eventstore.records import Batch, ClaimRow, Lease
from eventstore.store import Store
from tests.eventstore.rows import claim_row, claimed


async def taken(
    store: Store, lease: Lease, *claims: ClaimRow, freed: tuple[ClaimRow, ...] = ()
) -> set[tuple[str, str]]:
    """What a round that takes claims (and frees some in its batch) has lost."""
    async with store.round("w", [lease]) as round_:
        lost = await round_.take_claims(claims)
        await round_.write(Batch(claims_freed=list(freed)))
        return lost


async def test_a_claim_is_taken_once(store: Store) -> None:
    """The first stream has the value; another one loses it, and takes what is free beside it."""
    [lease] = await claimed(store, "w")
    assert await taken(store, lease, claim_row("a", "user:1")) == set()
    assert await taken(store, lease, claim_row("a", "user:2"), claim_row("b", "user:2")) == {("email", "a")}
    assert await taken(store, lease, claim_row("b", "user:3")) == {("email", "b")}


async def test_claims_of_another_kind_are_apart(store: Store) -> None:
    """A value is unique among its kind only."""
    [lease] = await claimed(store, "w")
    other = ClaimRow(kind="name", value="a", shard=0, stream="user:2", command_id="c")
    assert await taken(store, lease, claim_row("a", "user:1"), other) == set()


async def test_a_stream_does_not_lose_its_own_claim(store: Store) -> None:
    """A repeat of a registration meets the claim it has already."""
    [lease] = await claimed(store, "w")
    assert await taken(store, lease, claim_row("a", "user:1")) == set()
    assert await taken(store, lease, claim_row("a", "user:1", command_id="another")) == set()


async def test_within_a_round_the_first_has_the_claim(store: Store) -> None:
    """Of two streams in one round the one that comes first in the order given has the value."""
    [lease] = await claimed(store, "w")
    assert await taken(store, lease, claim_row("a", "user:2"), claim_row("a", "user:1")) == {("email", "a")}
    assert await taken(store, lease, claim_row("a", "user:2")) == set()


async def test_a_refused_commands_claim_is_freed_in_its_round(store: Store) -> None:
    """Taken before deciding, given up by the refusal: the value is free for the next."""
    [lease] = await claimed(store, "w")
    claim = claim_row("a", "user:1")
    assert await taken(store, lease, claim, freed=(claim,)) == set()
    assert await taken(store, lease, claim_row("a", "user:2")) == set()


async def test_a_refused_repeat_does_not_free_the_first_commands_claim(store: Store) -> None:
    """Only the command that took a claim can free it: a second registration's refusal leaves the first one's."""
    [lease] = await claimed(store, "w")
    assert await taken(store, lease, claim_row("a", "user:1", command_id="first")) == set()
    repeat = claim_row("a", "user:1", command_id="second")
    assert await taken(store, lease, repeat, freed=(repeat,)) == set()
    assert await taken(store, lease, claim_row("a", "user:2")) == {("email", "a")}


async def test_a_claim_of_an_earlier_round_can_be_freed(store: Store) -> None:
    """What a command has taken is freed by naming it, also later."""
    [lease] = await claimed(store, "w")
    claim = claim_row("a", "user:1")
    assert await taken(store, lease, claim) == set()
    assert await taken(store, lease, freed=(claim,)) == set()
    assert await taken(store, lease, claim_row("a", "user:2")) == set()


async def test_of_two_rounds_that_race_for_a_claim_one_has_it(store: Store) -> None:
    """Registrations of one address on two shards at once: exactly one of them commits as its holder."""
    leases = await claimed(store, "w", 2)
    both_open = asyncio.Barrier(2)

    async def race(lease: Lease, stream: str) -> bool:
        async with store.round("w", [lease]) as round_:
            await both_open.wait()
            return not await round_.take_claims([claim_row("a", stream)])

    results = await asyncio.gather(race(leases[0], "user:0"), race(leases[1], "user:1"), return_exceptions=True)
    assert results.count(True) == 1
    assert all(result is False or isinstance(result, VersionConflict) for result in results if result is not True)
    holder = results.index(True)
    assert await taken(store, leases[0], claim_row("a", f"user:{holder}")) == set()
    assert await taken(store, leases[0], claim_row("a", f"user:{1 - holder}")) == {("email", "a")}


async def test_a_claim_waits_for_the_roll_back_of_a_rival(store: Store) -> None:
    """A value that a rolled-back round had taken is free again."""
    leases = await claimed(store, "w", 2)
    rival = store.round("w", [leases[0]])
    async with store.round("w", [leases[1]]) as round_:
        opened = await rival.__aenter__()
        assert await opened.take_claims([claim_row("a", "user:0")]) == set()
        taking = asyncio.create_task(round_.take_claims([claim_row("a", "user:1")]))
        await asyncio.sleep(0)
        assert not await rival.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
        assert await taking == set()
    assert await taken(store, leases[0], claim_row("a", "user:2")) == {("email", "a")}


async def test_a_claim_that_is_taken_and_freed_in_one_round_locks_meanwhile(store: Store) -> None:
    """A rival comes wholly before or wholly after: it never takes the value between our taking it and our commit."""
    leases = await claimed(store, "w", 2)
    claim, rival = claim_row("a", "org:1"), claim_row("a", "user:1")
    taking: asyncio.Task[set[tuple[str, str]]] | None = None
    first = conflict = False
    try:
        async with store.round("w", [leases[0]]) as round_:
            assert await round_.take_claims([claim]) == set()
            taking = asyncio.create_task(taken(store, leases[1], rival))
            while not taking.done() and not await waits(store):
                await asyncio.sleep(0)
            await round_.write(Batch(claims_freed=[claim]))
            first = not taking.done()
    except VersionConflict:
        conflict = True
    assert taking is not None
    assert await taking == set()
    assert first != conflict, "the rival waits for our commit, or we are told at it that the rival came first"
    assert await taken(store, leases[0], claim_row("a", "org:2")) == {("email", "a")}


async def waits(store: Store) -> bool:
    """Whether a transaction waits for another one's; in memory nothing ever does."""
    if not isinstance(store, PostgresStore):
        return False
    return bool(await store.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
