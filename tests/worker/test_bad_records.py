"""Records that cannot be applied: to the dead letters, or given back; never skipped, never in others' way."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.account.account import AGGREGATE, Account
from domain.instant import SECOND
from domain.message import Command, Event
from eventstore.errors import DataError
from eventstore.memory.rounds import MemoryRound
from eventstore.records import Batch
from projections import credits as credits_view
from tests.domain.account.asking import add
from tests.shard_log import events_after
from tests.worker.bench import Bench
from worker import lane as lane_module
from worker.lane import BadDeploy

pytestmark = pytest.mark.usefixtures("logged")


class Bug(Exception):
    """Something that nobody thought of."""


@pytest.fixture
def bench() -> Bench:
    """One shard, so that order can be told."""
    return Bench()


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"header":{},"body":{"type":"credits.add"}}',
        b'{"header":{"id":"1"},"body":{}}',
        b"[" * 100_000,
    ],
)
async def test_bytes_that_are_no_command_go_to_the_dead_letters(bench: Bench, record: bytes) -> None:
    """The offset moves, the bytes are kept, and the next command is applied."""
    await bench.send_bytes(0, record)
    after = await bench.send("account:a", add("g", 5))
    await bench.run()
    assert [(each.reason, each.offset, each.record) for each in await bench.letters()] == [("undecodable", 0, record)]
    assert (await bench.said(after))[0] == "applied"
    assert await bench.next_offsets() == [2]


async def test_a_command_with_unknown_fields_is_no_command(bench: Bench) -> None:
    """It says more than was understood, so it is set aside whole."""
    await bench.send("account:a", add("g", 5))
    record = bench.log.records[0][0].replace(b'"amount":5', b'"amount":5,"more":1')
    await bench.send_bytes(0, record)
    await bench.run()
    assert [each.offset for each in await bench.letters()] == [1]


@pytest.mark.parametrize("stream", ["user:u", "nobody:x", ""])
async def test_a_command_for_another_kind_of_stream_is_set_aside(bench: Bench, stream: str) -> None:
    """Its category and its stream must agree."""
    await bench.send(stream, add("g", 5))
    await bench.run()
    assert [each.reason for each in await bench.letters()] == ["undecodable"]


async def test_a_command_on_the_wrong_shard_is_set_aside() -> None:
    """A stream has one shard, and one writer."""
    bench = Bench(shards=2)
    await bench.send("account:a", add("g", 5))
    right = bench.shard("account:a")
    await bench.send_bytes(1 - right, bench.log.records[right][0])
    await bench.run()
    assert [each.shard for each in await bench.letters()] == [1 - right]
    assert await bench.next_offsets() == [1, 1]


async def test_a_command_of_a_newer_release_gives_the_shard_back(bench: Bench) -> None:
    """What came before it is applied; it is not skipped and no dead letter; the reason is there for all to see."""
    before = await bench.send("account:a", add("g", 5))
    await bench.send("account:a", add("newer", 5))
    bench.log.records[0][1] = bench.log.records[0][1].replace(b"credits.add", b"credits.lend")
    await bench.send("account:a", add("later", 5))
    await bench.run()
    assert (await bench.said(before))[0] == "applied"
    head = (await bench.store.shard_heads())[0]
    assert (head.next_offset, head.owner, await bench.letters()) == (1, None, [])
    assert head.stopped is not None
    assert "credits.lend" in head.stopped
    assert bench.lane.shards == 0


async def test_a_shard_given_back_is_left_to_a_newer_release(bench: Bench) -> None:
    """The older worker does not take it again at once, which would clear the reason and keep the newer one waiting."""
    await bench.send("account:a", add("newer", 5))
    bench.log.records[0][0] = bench.log.records[0][0].replace(b"credits.add", b"credits.lend")
    await bench.run()
    assert bench.lane.shunned() == [0]
    bench.at += int(lane_module.SHUNNED_S * SECOND)
    assert bench.lane.shunned() == []


async def test_an_upgraded_worker_goes_on_where_the_older_stopped(bench: Bench) -> None:
    """It claims the shard, clears the reason, and applies the command."""
    await bench.send("account:a", add("newer", 5))
    known = bench.log.records[0][0]
    bench.log.records[0][0] = known.replace(b"credits.add", b"credits.lend")
    await bench.run()
    bench.log.records[0][0] = known
    bench.new_lane("worker-2")
    await bench.run()
    head = (await bench.store.shard_heads())[0]
    assert (head.next_offset, head.stopped) == (1, None)


def _buggy(monkeypatch: pytest.MonkeyPatch, name: str, when: Any) -> None:
    """Makes a function of the account aggregate fail for some commands or events."""
    real = getattr(AGGREGATE, name)

    def buggy(state: Account, message: Command | Event, *rest: Any) -> Any:
        if when(message):
            raise Bug
        return real(state, message, *rest)

    monkeypatch.setattr(AGGREGATE, name, buggy)


def _of_grant(grant_id: str) -> Any:
    return lambda message: getattr(message, "grant_id", None) == grant_id


_bad = _of_grant("bad")


@pytest.mark.parametrize("place_of_bug", ["decide", "answer"])
async def test_a_bug_in_one_command_fails_it_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place_of_bug: str
) -> None:
    """The others are applied, and of the one that failed not even a part: a bug after its events takes them back."""
    _buggy(monkeypatch, place_of_bug, _of_grant("bad"))
    ids = [await bench.send("account:a", add(grant_id, 5)) for grant_id in ("g1", "bad", "g2")]
    await bench.run()
    assert [(await bench.said(each))[0] for each in ids] == ["applied", "failed", "applied"]
    assert [(each.reason, each.offset, each.command_id) for each in await bench.letters()] == [("failed", 1, ids[1])]
    stored = await bench.store.stream(0, "account:a")
    assert stored is not None
    assert [event.seq for event in stored.events] == [1, 2]
    assert (await bench.said(ids[2]))[1]["balance"] == 10


async def test_a_failed_command_is_not_decided_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id waits for an operator; a repeat makes no second dead letter."""
    _buggy(monkeypatch, "decide", _of_grant("bad"))
    failed = await bench.send("account:a", add("bad", 5))
    await bench.send("account:a", add("bad", 5), command_id=failed, attempt="attempt-2")
    await bench.run()
    assert len(await bench.letters()) == 1


async def test_too_many_failures_in_a_row_stop_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a bad deploy: better to stop than to set everything aside."""
    _buggy(monkeypatch, "decide", lambda _command: True)
    for number in range(lane_module.FAILURES_MAX):
        await bench.send("account:a", add(f"g{number}", 5))
    with pytest.raises(BadDeploy):
        await bench.run()


async def test_failures_among_successes_do_not_stop_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad client is no bad deploy."""
    _buggy(monkeypatch, "decide", _of_grant("bad"))
    for number in range(4 * lane_module.FAILURES_MAX):
        await bench.send("account:a", add("bad" if number % 4 == 0 else f"g{number}", 5))
    await bench.run()
    assert len(await bench.letters()) == lane_module.FAILURES_MAX


async def test_a_bug_in_most_commands_stops_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a success between them makes it no better deploy."""
    _buggy(monkeypatch, "decide", _of_grant("bad"))
    for number in range(2 * lane_module.DECIDED_LAST):
        await bench.send("account:a", add(f"g{number}" if number % 4 == 0 else "bad", 5))
    with pytest.raises(BadDeploy):
        await bench.run()


@pytest.mark.parametrize("kind", ["evolve", "bytes"])
async def test_quarantines_and_broken_records_stop_the_worker_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A release that folds nothing, or reads nothing, is as bad as one that decides nothing."""
    _buggy(monkeypatch, "evolve", lambda _event: kind == "evolve")
    for number in range(lane_module.FAILURES_MAX):
        if kind == "bytes":
            await bench.send_bytes(0, b"?")
        else:
            await bench.send(f"account:a{number}", add("g", 5))
    with pytest.raises(BadDeploy):
        await bench.run()


async def test_what_waits_behind_a_quarantine_counts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken stream with many commands is no bad deploy."""
    _buggy(monkeypatch, "evolve", _of_grant("bad"))
    for number in range(2 * lane_module.FAILURES_MAX):
        await bench.send("account:a", add(f"g{number}" if number else "bad", 5))
    await bench.run()
    assert len(await bench.letters()) == 2 * lane_module.FAILURES_MAX


@pytest.mark.parametrize("name", ["key", "encode", "owner", "sort"])
async def test_a_bug_in_a_read_model_fails_its_command_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Wherever it is in a read model, the worker goes on, and so do the others' commands."""
    real = getattr(credits_view.PROJECTION, name)

    def buggy(seen: Any) -> Any:
        if "account:bad" in str(getattr(seen, "stream", "")) or getattr(seen, "account_id", "") == "bad":
            raise Bug
        return real(seen)

    monkeypatch.setattr(credits_view.PROJECTION, name, buggy)
    ids = [await bench.send(f"account:{account}", add("g", 5)) for account in ("a", "bad", "b")]
    await bench.run()
    assert [(await bench.said(each))[0] for each in ids] == ["applied", "failed", "applied"]


async def test_a_document_of_another_shape_fails_the_commands_that_need_it(bench: Bench) -> None:
    """It cannot be read, so nothing that changes it is applied; all else is."""
    await bench.send("account:bad", add("g1", 5))
    await bench.run()
    await bench.lane.close()
    kept = bench.documents._documents["credits"]
    kept["bad"] = replace(kept["bad"], doc=b'{"account_id":1}')
    bench.new_lane("worker-2")
    ids = [await bench.send(f"account:{account}", add("g2", 5)) for account in ("a", "bad", "b")]
    await bench.run()
    assert [(await bench.said(each))[0] for each in ids] == ["applied", "failed", "applied"]


@pytest.mark.parametrize("name", ["claims", "next_due"])
async def test_a_bug_beside_decide_fails_its_command_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before it is decided or after it, the one command fails."""

    def buggy(*seen: Any) -> Any:
        if "'bad'" in repr(seen[0]):
            raise Bug
        return real(*seen)

    owner: Any = type(add("g", 1)) if name == "claims" else AGGREGATE
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, buggy)
    ids = [await bench.send(f"account:{each}", add(each, 5)) for each in ("a", "bad", "b")]
    await bench.run()
    assert [(await bench.said(each))[0] for each in ids] == ["applied", "failed", "applied"]


async def test_an_event_that_cannot_be_evolved_quarantines_its_stream(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its later commands wait in order among the dead letters; other streams go on; nothing of the event is written."""
    _buggy(monkeypatch, "evolve", _of_grant("bad"))
    first = await bench.send("account:a", add("g1", 5))
    waiting = [await bench.send("account:a", add(grant_id, 5)) for grant_id in ("bad", "g2", "g3")]
    other = await bench.send("account:b", add("g4", 5))
    await bench.run()
    waiting.append(await bench.send("account:a", add("g5", 5)))
    await bench.run()
    assert [(await bench.said(each))[0] for each in (first, other)] == ["applied", "applied"]
    letters = await bench.letters()
    assert [(each.reason, each.command_id) for each in letters] == [("quarantined", each) for each in waiting]
    assert [each.offset for each in letters] == sorted(each.offset for each in letters)
    assert {(await bench.said(each))[0] for each in waiting} == {"quarantined"}
    assert await bench.store.quarantined() == ["account:a"]
    stored = await bench.store.stream(0, "account:a")
    assert stored is not None
    assert (stored.head.version, len(stored.events)) == (1, 1)
    assert [event.seq for event in await events_after(bench.store, 0, 0, 10)] == [1, 2]


async def test_a_quarantined_stream_is_not_swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would wake it would only be set aside."""
    await bench.send("account:a", add("g1", 5, expires_at=bench.at + 1))
    await bench.run()
    _buggy(monkeypatch, "evolve", _of_grant("bad"))
    await bench.send("account:a", add("bad", 5))
    await bench.run()
    assert await bench.store.due([0], bench.at + 10, 10) == []


async def test_a_stream_that_cannot_be_folded_is_quarantined(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker, with a fold that its events break, sets its commands aside."""
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    await bench.lane.close()
    bench.new_lane("worker-2")
    _buggy(monkeypatch, "evolve", _of_grant("g1"))
    waiting = await bench.send("account:a", add("g2", 5))
    await bench.run()
    assert (await bench.said(waiting))[0] == "quarantined"
    assert await bench.store.quarantined() == ["account:a"]


def _refusing(monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
    """A database that does not take some rows."""
    write = MemoryRound.write

    async def refusing(round_: MemoryRound, batch: Batch) -> None:
        if refused(batch):
            raise DataError("a value does not fit its column")
        await write(round_, batch)

    monkeypatch.setattr(MemoryRound, "write", refusing)


async def test_a_row_that_the_database_refuses_fails_its_command_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is halved until the culprit is found; all others are applied, in their order."""
    _refusing(monkeypatch, lambda batch: any(b'"bad"' in event.payload for event in batch.events))
    names = [f"g{number}" for number in range(20)]
    names[7] = "bad"
    ids = [await bench.send("account:a", add(grant_id, 1)) for grant_id in names]
    await bench.run()
    statuses = [(await bench.said(each))[0] for each in ids]
    assert [name for name, status in zip(names, statuses, strict=True) if status != "applied"] == ["bad"]
    assert [(each.reason, each.offset) for each in await bench.letters()] == [("failed", 7)]
    assert (await bench.said(ids[-1]))[1]["balance"] == 19


async def test_a_command_whose_very_name_is_refused_is_set_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its outcome can be written: it is kept as bytes, and others pass."""
    _refusing(monkeypatch, lambda batch: any("\0" in outcome.command_id for outcome in batch.outcomes))
    await bench.send("account:a", add("g1", 5), command_id="nul \0")
    after = await bench.send("account:a", add("g2", 5))
    await bench.run()
    assert [(each.reason, each.offset, each.command_id) for each in await bench.letters()] == [("undecodable", 0, None)]
    assert (await bench.said(after))[0] == "applied"


async def test_an_answer_that_is_no_json_takes_its_events_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be decided but not written down did not happen."""
    monkeypatch.setattr(AGGREGATE, "answer", lambda _state, command, _events: {"it": object if _bad(command) else 1})
    bad, fine = [await bench.send("account:a", add(grant_id, 5)) for grant_id in ("bad", "g1")]
    await bench.run()
    assert [(await bench.said(each))[0] for each in (bad, fine)] == ["failed", "applied"]
    stored = await bench.store.stream(0, "account:a")
    assert stored is not None
    assert [event.version for event in stored.events] == [1]
