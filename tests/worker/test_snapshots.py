"""Snapshots shorten a fold and change nothing else."""

import pytest

from domain.account.account import AGGREGATE
from eventstore.records import StoredStream
from tests.domain.account.asking import add, place, settle
from tests.worker.bench import Bench
from worker import deciding
from worker.streams import fold

pytestmark = pytest.mark.usefixtures("logged")
EVERY = 5


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "SNAPSHOT_EVERY", EVERY)


async def _history(bench: Bench, first: int, count: int) -> None:
    for number in range(first, first + count):
        await bench.send("account:a", add(f"g{number}", 5, priority=-number))
        await bench.run()


async def _read(bench: Bench) -> StoredStream:
    found = bench.store.stored_stream("account:a")
    assert found is not None
    return found


async def test_a_snapshot_is_taken_and_restored() -> None:
    """Another worker folds it and the few events after it, and decides as the first would have."""
    bench = Bench()
    await _history(bench, 0, 2 * EVERY + 3)
    stored = await _read(bench)
    assert (stored.head.snapshot_at, len(stored.events)) == (2 * EVERY, 3)
    whole = await bench.store.stream(0, "account:a")
    assert whole is not None
    assert fold(stored).state == fold(whole, whole=True).state
    await bench.lane.close()
    bench.new_lane("worker-2")
    placed = await bench.send("account:a", place("h", 20, expires_at=bench.at + 1_000_000))
    settled = await bench.send("account:a", settle("h", 12))
    await bench.run()
    assert [(await bench.said(each))[0] for each in (placed, settled)] == ["applied", "applied"]
    assert (await bench.said(settled))[1]["balance"] == 5 * (2 * EVERY + 3) - 12
    again = fold(await _read(bench)).state.credits.grants
    assert list(again) == [f"g{number}" for number in reversed(range(11))]


async def test_an_outdated_snapshot_is_refolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release with another state folds from the first event, and its first write replaces the snapshot."""
    bench = Bench()
    await _history(bench, 0, EVERY)
    assert (await _read(bench)).head.snapshot_version == AGGREGATE.state_version
    await bench.lane.close()
    monkeypatch.setattr(AGGREGATE, "state_version", AGGREGATE.state_version + 1)
    bench.new_lane("worker-2")
    await _history(bench, EVERY, EVERY)
    head = (await _read(bench)).head
    assert (head.version, head.snapshot_at, head.snapshot_version) == (2 * EVERY, EVERY + 1, AGGREGATE.state_version)
    assert fold(await _read(bench)).state.credits.balance == 5 * 2 * EVERY


async def test_no_snapshot_is_taken_of_a_short_stream() -> None:
    """It would cost more than it saves."""
    bench = Bench()
    await _history(bench, 0, EVERY - 1)
    assert (await _read(bench)).head.snapshot is None


async def test_a_large_state_is_snapshotted_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event bears a bounded part of a snapshot's size; another worker knows the size of the last one too."""
    monkeypatch.setattr(deciding, "SNAPSHOT_BYTES", 50)
    bench = Bench()
    await _history(bench, 0, EVERY)
    head = (await _read(bench)).head
    assert head.snapshot is not None
    wait = len(head.snapshot) // 50
    assert wait > EVERY
    await _history(bench, EVERY, wait - 1)
    await bench.lane.close()
    bench.new_lane("worker-2")
    assert (await _read(bench)).head.snapshot_at == EVERY
    await _history(bench, EVERY + wait, 1)
    assert (await _read(bench)).head.snapshot_at == EVERY + wait
