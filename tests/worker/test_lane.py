"""What a lane does when the world moves under it. The simulation finds such cases; here each stands alone."""

from typing import Any

import pytest

from domain.instant import SECOND
from eventstore.errors import Unavailable
from eventstore.records import Lease
from tests.domain.account.asking import add, place
from tests.worker.bench import Bench
from worker.lane import COMMIT_S_MAX, LOOK_AGAIN_S, RENEW_S
from worker.source import LogBounds, LogUnavailable
from worker.streams import StreamCache

pytestmark = pytest.mark.usefixtures("logged")


def _lose_answer(bench: Bench, offset: int) -> None:
    """Loses the answer of the commit that brings the first shard past `offset`."""
    lost: list[bool] = []

    async def pause() -> None:
        if not lost and (await bench.store.shard_heads())[0].next_offset > offset:
            lost.append(True)
            raise Unavailable("the answer to COMMIT was lost")

    bench.store.pause = pause


async def test_a_commit_whose_answer_was_lost_is_not_repeated() -> None:
    """The lane learns from the store that it happened, and neither repeats it nor waits for it for ever."""
    bench = Bench()
    _lose_answer(bench, 0)
    ids = [await bench.send("account:a", add(f"g{number}", 5)) for number in range(40)]
    await bench.run()
    assert [(await bench.said(each))[0] for each in ids] == 40 * ["applied"]
    assert await bench.next_offsets() == [40]
    assert bench.lane.positions == {0: 40}


async def test_read_models_survive_a_lost_answer() -> None:
    """What the round had folded is read again: the documents go on from what was committed."""
    bench = Bench()
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    _lose_answer(bench, 1)
    await bench.send("account:a", add("g2", 5))
    await bench.run()
    last = await bench.send("account:a", place("h", 7, expires_at=bench.at + SECOND))
    await bench.run()
    data = (await bench.said(last))[1]
    found = await bench.documents.get("credits", 0, "a")
    assert (data["balance"], data["held"]) == (10, 7)
    assert found is not None
    assert b'"balance":10,"held":7' in found


async def test_a_shard_that_was_lost_on_its_way_does_not_block_the_lane() -> None:
    """A claimed shard that another worker has taken before the lane came to it is passed over; the others are not."""
    bench = Bench(shards=2)
    stream = next(f"account:{name}" for name in "abcdefgh" if bench.shard(f"account:{name}") == 1)
    await bench.claim()
    head = (await bench.store.shard_heads())[0]
    await bench.store.stop_shard("worker-1", Lease(shard=0, epoch=head.epoch), "log_recreated: once")
    bench.lane._arriving[0] = (await bench.store.shard_heads())[0]
    bench.at += 2 * SECOND
    await bench.store.renew("worker-1", [Lease(shard=1, epoch=1)], 3.0)
    bench.at += 2 * SECOND
    assert [taken.shard for taken in await bench.store.claim("worker-2", 2, 3.0)] == [0]
    command_id = await bench.send(stream, add("g", 5))
    await bench.run()
    assert (await bench.said(command_id))[0] == "applied"
    assert bench.lane.shards == 1


async def test_idle_shards_are_renewed_while_others_are_busy() -> None:
    """A commit prolongs the leases of its own shards only; the lane sees to the rest."""
    bench = Bench(shards=2)
    busy = next(f"account:{name}" for name in "abcdefgh" if bench.shard(f"account:{name}") == 1)
    for number in range(10):
        await bench.send(busy, add(f"g{number}", 5))
        await bench.run()
        bench.at += int(RENEW_S * 0.9 * SECOND)
    assert await bench.store.claim("worker-2", 2, 3.0) == []


async def test_a_shard_that_comes_back_is_read_anew() -> None:
    """Others may have written it meanwhile: nothing that was kept in memory of it counts any more."""
    bench = Bench()
    bench.rounds._streams = StreamCache(1)
    await bench.send("account:a", add("g1", 5))
    await bench.send("account:b", add("g1", 5))
    await bench.run()
    first, rounds = bench.lane, bench.rounds
    bench.at += 4 * SECOND
    bench.new_lane("worker-2")
    await bench.send("account:a", add("g2", 5))
    await bench.run()
    await bench.lane.close()
    bench.lane, bench.rounds, bench.name = first, rounds, "worker-1"
    bench.lane._source._bench = bench  # type: ignore[attr-defined]
    last = await bench.send("account:a", add("g3", 5))
    await bench.run()
    assert (await bench.said(last))[1]["balance"] == 15
    found = await bench.documents.get("credits", 0, "a")
    assert found is not None
    assert b'"balance":15' in found
    assert b"g2" in found


async def test_a_shard_without_a_leader_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept and looked at again after a while; the other shards of the lane are applied meanwhile."""
    bench = Bench(shards=2)
    names = {bench.shard(f"account:{name}"): f"account:{name}" for name in "abcdefgh"}
    ids = [await bench.send(names[shard], add("g", 5)) for shard in range(2)]
    bounds = bench.lane._source.bounds

    async def leaderless(shard: int) -> LogBounds:
        if shard == 0:
            raise LogUnavailable("no leader")
        return await bounds(shard)

    with monkeypatch.context() as patch:
        patch.setattr(bench.lane._source, "bounds", leaderless)
        await bench.run()
    assert [await bench.outcome(each) is None for each in ids] == [True, False]
    assert sorted(bench.lane.leases) == [0, 1]
    bench.at += int(LOOK_AGAIN_S * SECOND)
    await bench.run()
    assert (await bench.said(ids[0]))[0] == "applied"


async def test_a_commit_of_positions_that_fails_is_only_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's lag tools know less; shards are applied and given back as ever."""
    bench = Bench()

    async def away(_positions: object) -> None:
        raise LogUnavailable("no coordinator")

    monkeypatch.setattr(bench.lane._source, "commit", away)
    for number in range(3):
        command_id = await bench.send("account:a", add(f"g{number}", 5))
        await bench.run()
        assert (await bench.said(command_id))[0] == "applied"
        bench.at += 2 * SECOND
    await bench.lane.close()
    assert (await bench.store.shard_heads())[0].owner is None


async def test_slow_rounds_shrink_to_single_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """However heavy a command is, a round can be as small as that one."""
    bench = Bench()
    apply, sizes = bench.rounds.apply, []

    async def slow(leases: Any, records: Any, *rest: Any) -> Any:
        bench.at += int((COMMIT_S_MAX + 0.5) * SECOND)
        sizes.append(len(records))
        return await apply(leases, records, *rest)

    monkeypatch.setattr(bench.rounds, "apply", slow)
    for number in range(40):
        await bench.send("account:a", add(f"g{number}", 5))
    await bench.run()
    assert sizes[:5] == [16, 8, 4, 2, 1]
