"""I5 in memory: refolding the whole log makes, document by document, what the worker folded round by round."""

from random import Random

import pytest

from eventstore import codec
from projections.registry import all_projections, projections_of
from tests.projections.histories import some_command
from tests.shard_log import read_shard
from tests.worker.bench import Bench


@pytest.mark.parametrize("seed", range(5))
async def test_refolding_equals_what_was_folded_live(seed: int) -> None:
    """Whatever the size of the rounds, with what the lane kept in memory and with what it had to read again."""
    random = Random(seed)
    bench = Bench(shards=2)
    for number in range(120):
        stream = f"account:a{number // 40}"
        await bench.send(stream, some_command(random, number, bench.at))
        bench.at += random.choice((0, 1_000_000, 90_000_000))
        if random.random() < 0.2:
            await bench.run()
        if random.random() < 0.05:
            await bench.lane.close()
            bench.new_lane(f"worker-{number}")
    await bench.run()
    refolded: dict[tuple[str, str], object] = {}
    for shard in range(2):
        async for stored in read_shard(bench.store, shard, page=7):
            recorded = codec.recorded(stored)
            for projection in projections_of(type(recorded.event)):
                key = projection.key(recorded)
                if key is not None:
                    place = (projection.collection, key)
                    refolded[place] = projection.evolve(refolded.get(place), recorded)
    known = all_projections()
    assert {place: known[place[0]].encode(document) for place, document in refolded.items()} == {
        (collection, key): change.doc
        for collection, documents in bench.documents._documents.items()
        for key, change in documents.items()
    }
    assert len(refolded) > 25
