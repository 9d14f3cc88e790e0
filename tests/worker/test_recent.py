"""A worker's caches are bounded by what their contents occupy, whatever that is."""

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.account.account import AGGREGATE
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, SettleHold
from domain.account.usage import Price, Usage
from domain.instant import MINUTE, SECOND
from domain.message import Command
from eventstore import codec
from projections import credits
from tests.domain.account.asking import add
from tests.worker.bench import Bench
from worker.projecting import DOCUMENT_BYTES, DocumentCache, Touch
from worker.recent import Recent
from worker.streams import STREAM_BYTES, LiveStream, StreamCache, new_stream, size_bytes

AT = 1_800_000_000 * SECOND
HOLDS = 1_000


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), max_size=60))
def test_the_oldest_go_until_the_rest_fits(bytes_max: int, steps: list[tuple[int, int, bool]]) -> None:
    """As a list of pairs would, from which the first are cut."""
    recent = Recent[int, int](bytes_max)
    model: list[tuple[int, int]] = []
    for key, size, dropped in steps:
        model = [each for each in model if each[0] != key]
        if dropped:
            recent.drop(key)
        else:
            recent.put(key, size, size)
            model.append((key, size))
        recent.trim()
        while len(model) > 1 and sum(size for _, size in model) > bytes_max:
            del model[0]
        assert list(recent.items()) == model
        assert recent.size_bytes == sum(size for _, size in model)
        assert len(recent) == len(model)
        assert all(key in recent and recent.get(key) == size for key, size in model)


def _live(name: str, state: Any) -> LiveStream:
    live = new_stream(0, f"account:{name}")
    assert live is not None
    live.state = state
    return live


def _account(holds: int, *, settled: bool) -> Any:
    """An account that has or had so many holds, as it comes from a snapshot."""
    state = AGGREGATE.initial()
    price = Price(input=1, cached_input=1, output=4, version="2026-01")
    commands: list[Command] = [AddCredits(grant_id="grant_1", amount=10**12, source="test", reference="r")]
    for number in range(holds):
        hold_id = f"hold_{number:032x}"
        commands.append(
            PlaceHold(
                hold_id=hold_id,
                amount=1_000,
                amount_min=1,
                model="fs-basic",
                price=price,
                expires_at=AT + MINUTE,
                key_id=f"key_{number:032x}",
            )
        )
        if settled:
            usage = Usage(source="provider", input=10, output=5)
            commands.append(SettleHold(hold_id=hold_id, usage=usage, request_id=f"req_{number:032x}"))
    for command in commands:
        for event in AGGREGATE.decide(state, command, AT):
            state = AGGREGATE.evolve(state, event)
    return codec.decode_state(AGGREGATE, codec.encode_state(AT, state))[1]


def test_a_stream_weighs_at_least_what_it_occupies() -> None:
    """Of open and of remembered holds, and of an account with nothing in it; but not several times as much."""
    _account(1, settled=True)  # decoders and the like are made once
    for settled in (False, True):
        for holds in (0, HOLDS):
            tracemalloc.start()
            state = _account(holds, settled=settled)
            occupied = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            weighed = size_bytes(_live("a", state))
            assert occupied <= weighed <= 4 * occupied + STREAM_BYTES


async def test_the_weight_of_a_stream_keeps_up_with_it() -> None:
    """It is not counted anew with each command, but is never more than a quarter behind."""
    bench = Bench()
    for number in range(100):
        await bench.send("account:a", add(f"g{number}", 5))
        await bench.run()
        live = bench.rounds._streams.get("account:a")
        assert live is not None
        exact = size_bytes(_live("a", live.state)) - STREAM_BYTES
        assert 0.75 * exact <= size_bytes(live) - STREAM_BYTES <= exact


async def test_streams_are_kept_by_what_they_hold() -> None:
    """A thousand holds push out a thousand times what one does, and what was dropped is read again."""
    bench = Bench()
    cache = bench.rounds._streams = StreamCache(10 * STREAM_BYTES)
    for name in "abcdefgh":
        await bench.send(f"account:{name}", add("g1", 5))
        await bench.run()
    assert cache.size_bytes <= 10 * STREAM_BYTES
    assert cache.get("account:a") is None
    assert cache.get("account:h") is not None
    cache.put([_live("heavy", _account(HOLDS, settled=True))])
    assert cache.get("account:h") is None
    assert cache.get("account:heavy") is not None
    last = await bench.send("account:a", add("g2", 5))
    await bench.run()
    assert (await bench.said(last))[1]["balance"] == 10
    assert cache.get("account:heavy") is None


def test_documents_are_kept_by_what_they_hold() -> None:
    """The least recently used goes first; what was dropped is not there."""
    touches = [_touch(shard, f"a{number}") for number, shard in enumerate((0, 1, 0))]
    places = [touch.place for touch in touches]

    def known() -> list[bool]:
        return [cache.get(place) is not None for place in places]

    cache = DocumentCache(2 * DOCUMENT_BYTES + 300)
    touches[0].size_bytes = touches[1].size_bytes = 50
    cache.put(touches[:2])
    assert cache.get(places[0]) == touches[0].document
    touches[0].size_bytes = 0
    cache.put([touches[0], touches[2]])
    assert known() == [True, False, True]
    touches[2].size_bytes = 5_000
    cache.put([touches[2]])
    assert known() == [False, False, True]
    cache.drop_shards(frozenset({0}))
    assert known() == [False, False, False]
    assert cache.size_bytes == 0


def _touch(shard: int, account_id: str) -> Touch:
    view = credits.CreditsView(account_id=account_id)
    return Touch(credits.PROJECTION, (shard, credits.PROJECTION.collection, account_id), [], view)


async def test_documents_weigh_what_was_stored() -> None:
    """The round tells the cache the sizes of what it has encoded."""
    bench = Bench()
    await bench.send("account:a", add("g1", 5))
    await bench.run()
    doc = await bench.documents.get("credits", 0, "a")
    assert doc is not None
    assert bench.rounds._cache.size_bytes >= DOCUMENT_BYTES + len(doc)
