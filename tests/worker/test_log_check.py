"""A log and a store that do not belong together are noticed on the claim: the shard stops with a named reason."""

import copy
from typing import Any

import pytest

from domain.instant import SECOND
from eventstore.records import ShardHead
from tests.domain.account.asking import add
from tests.worker.bench import Bench
from worker.adopt_log import plan
from worker.log_check import mismatch
from worker.rechecking import Rechecker
from worker.source import LogBounds, LogUnavailable, Record

pytestmark = pytest.mark.usefixtures("logged")


class Retaining:
    """A log that has kept its records from `first` on."""

    def __init__(self, first: int, end: int, committed: int | None = None) -> None:
        self._bounds = LogBounds(first=first, end=end, committed=committed)

    async def bounds(self, shard: int) -> LogBounds:
        """What there is."""
        return self._bounds

    async def read_one(self, shard: int, offset: int) -> Record | None:
        """A record, while it is there."""
        there = self._bounds.first <= offset < self._bounds.end
        return Record(shard=shard, offset=offset, value=b"%d" % offset) if there else None


def _head(next_offset: int, last_digest: bytes = b"") -> ShardHead:
    return ShardHead(shard=0, owner="w", epoch=1, next_offset=next_offset, seq=0, last_digest=last_digest)


@pytest.mark.parametrize(
    ("log", "next_offset", "reason"),
    [
        (Retaining(0, 10), 0, None),
        (Retaining(0, 10), 10, None),
        (Retaining(4, 10), 4, None),
        (Retaining(0, 10, committed=7), 7, None),
        (Retaining(0, 10, committed=6), 7, None),
        (Retaining(0, 10), 11, "log_recreated"),
        (Retaining(4, 10), 3, "log_truncated"),
        (Retaining(0, 10, committed=8), 7, "store_restored"),
    ],
)
async def test_where_log_and_store_stand(log: Any, next_offset: int, reason: str | None) -> None:
    """The store may stand anywhere between the log's ends, and never behind what was committed to the log."""
    found = await mismatch(log, _head(next_offset))
    assert (found.partition(":")[0] if found else None) == reason


async def test_another_record_where_the_last_one_was() -> None:
    """The digest of the last applied record tells a recreated topic that has grown again."""
    found = await mismatch(Retaining(0, 10), _head(7, b"another"))  # type: ignore[arg-type]
    assert found is not None
    assert found.startswith("log_recreated")


async def test_a_last_record_that_is_not_retained_proves_nothing() -> None:
    """Retention may have removed it: that is no reason to stop."""
    assert await mismatch(Retaining(7, 10), _head(7, b"another")) is None  # type: ignore[arg-type]


async def test_the_same_log_is_taken_up_again() -> None:
    """Another worker goes on where the first has stopped."""
    bench = Bench()
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    await bench.lane.close()
    bench.new_lane("worker-2")
    command_id = await bench.send("account:a", add("g2", 5))
    await bench.run()
    assert (await bench.said(command_id))[1]["balance"] == 10


@pytest.mark.parametrize(("recreated", "reason"), [(0, "log_recreated"), (1, "log_recreated"), (3, "log_recreated")])
async def test_a_recreated_topic_stops_the_shard(recreated: int, reason: str) -> None:
    """Nothing of the new log is applied until an operator adopts it; then the next look clears the reason."""
    bench = Bench()
    for number in range(2):
        await bench.send("account:a", add(f"g{number}", 5))
    await bench.run()
    await bench.lane.close()
    bench.log.records[0].clear()
    bench.log.committed.clear()
    for number in range(recreated):
        await bench.send("account:a", add(f"new{number}", 5))
    bench.new_lane("worker-2")
    await bench.run()
    head = (await bench.store.shard_heads())[0]
    assert (head.next_offset, head.seq) == (2, 2)
    assert (head.stopped or "").startswith(reason)
    await bench.store.adopt(0, 0, recreated)
    bench.at += 4 * SECOND
    bench.new_lane("worker-3")
    await bench.run()
    head = (await bench.store.shard_heads())[0]
    assert (head.next_offset, head.stopped) == (recreated, None)


async def test_what_was_adopted_is_applied_whatever_its_deadline() -> None:
    """An operator's word: deadlines do not count for what was in the log when it was adopted, and count again after."""
    bench = Bench()
    adopted = await bench.send("account:a", add("g1", 5), deadline=bench.at - 1)
    await bench.store.adopt(0, 0, 1)
    later = await bench.send("account:a", add("g2", 5), deadline=bench.at - 1)
    await bench.run()
    assert (await bench.said(adopted))[0] == "applied"
    assert (await bench.said(later))[1] == "deadline_passed"


async def test_a_last_record_that_did_not_come_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is slow to give what it has is not taken for the right one: it is asked again."""
    log: Any = Retaining(0, 10)

    async def slow(_shard: int, _offset: int) -> None:
        return None

    monkeypatch.setattr(log, "read_one", slow)
    with pytest.raises(LogUnavailable):
        await mismatch(log, _head(7, b"another"))


async def test_a_clock_that_was_ahead_does_not_close_a_stream() -> None:
    """Deadlines are held against the clock of now, not against the last event of the stream."""
    bench = Bench()
    bench.at += 3_600 * SECOND
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    bench.at -= 3_600 * SECOND
    in_time = await bench.send("account:a", add("g2", 5), deadline=bench.at + 30 * SECOND)
    bench.lane.closing = False
    await bench.run()
    assert (await bench.said(in_time))[0] == "applied"


async def test_a_store_restored_to_a_moment_ago_stops_the_shard() -> None:
    """However little it lost: the log knows of each batch that was applied as soon as the lane comes round again."""
    bench = Bench()
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    backup = copy.deepcopy(bench.store), copy.deepcopy(bench.documents)
    await bench.send("account:a", add("g2", 5))
    await bench.run()
    bench.store, bench.documents = backup
    bench.at += 4 * SECOND
    bench.new_lane("worker-2")
    await bench.run()
    assert ((await bench.store.shard_heads())[0].stopped or "").startswith("store_restored")


async def _outgrown() -> Bench:
    """Two commands are applied and looked at; then the topic is made anew and grows past them before the next look."""
    bench = Bench()
    rechecker = Rechecker(bench.store, bench.lane._source, [bench.lane])
    for number in range(2):
        await bench.send("account:a", add(f"g{number}", 5))
    await bench.run()
    await rechecker.step()
    bench.log.records[0].clear()
    bench.log.committed.clear()
    for number in range(4):
        await bench.send("account:a", add(f"new{number}", 5))
    await bench.run()
    assert await bench.next_offsets() == [4]
    await rechecker.step()
    await bench.run()
    return bench


async def test_a_topic_that_outgrows_the_old_one_under_a_running_worker_stops_the_shard() -> None:
    """Its first records were passed over, though the last one that was applied is its own."""
    bench = await _outgrown()
    assert ((await bench.store.shard_heads())[0].stopped or "").startswith("log_recreated: another log")
    last = await bench.send("account:a", add("last", 5))
    await bench.run()
    assert await bench.outcome(last) is None


async def test_a_topic_that_has_outgrown_stays_known_until_it_is_adopted() -> None:
    """Another worker has nothing to compare with and stops all the same; adopting applies the log from its first."""
    bench = await _outgrown()
    store: Any = bench.store
    bench.at += 4 * SECOND
    bench.new_lane("worker-2")
    await bench.run()
    [adoption] = await plan(store, bench.lane._source)
    assert (adoption.next_offset, adoption.adopt_until) == (0, 4)
    await store.adopt(0, adoption.next_offset, adoption.adopt_until)
    await bench.lane._source.commit({0: 0})
    bench.at += 4 * SECOND
    bench.new_lane("worker-3")
    last = await bench.send("account:a", add("last", 5))
    await bench.run()
    assert (await bench.said(last))[1]["balance"] == 7 * 5


async def test_a_log_that_stays_the_same_is_marked_and_never_suspected() -> None:
    """However far it is applied between two looks, and whatever retention deletes meanwhile."""
    bench = Bench()
    rechecker = Rechecker(bench.store, bench.lane._source, [bench.lane])
    for number in range(10):
        await bench.send("account:a", add(f"g{number}", 5))
        await bench.run()
        await rechecker.step()
        assert bench.lane.marks[0].offset == number
    assert (await bench.store.shard_heads())[0].stopped is None
