"""I5 in memory: refolding the whole log makes, document by document, what the worker folded round by round."""

from pathlib import Path
from random import Random

import pytest

from api.account_plan import account_plan, terms_of
from api.plans import SHIPPED, Plans, load_plans
from domain.account.subscription import ConfirmSubscription
from domain.instant import DAY
from domain.money import MICRO
from eventstore import codec
from projections.credits import get_credits
from projections.registry import all_projections, projections_of
from projections.subscriptions import get_subscription
from projections.transactions import list_transactions
from tests.domain.account.subscribing import news
from tests.projections.histories import some_command
from tests.shard_log import read_shard
from tests.worker.bench import Bench
from worker.sweeper import Sweeper


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
    assert await _refolded(bench) == _stored(bench)
    assert len(_stored(bench)) > 25


async def test_another_plan_file_changes_nothing_that_was_decided(tmp_path: Path) -> None:
    """A year of renewals under one file, and on under another: what the first has granted is refolded as it was.

    Who renews goes on with the credits on record, though the plan has others now or is gone; limits are those of the
    file in force; who is confirmed again has the new terms from then on.
    """
    first = load_plans()
    other = SHIPPED.read_text().replace("[plans.pro]", "[plans.expert]").replace('"15"', '"40"').replace("120", "60")
    (tmp_path / "plans.toml").write_text(other)
    second = load_plans(tmp_path / "plans.toml")
    bench = Bench(shards=2)
    for account, plan in (("stays", "team"), ("gone", "pro"), ("again", "team")):
        await bench.send(f"account:{account}", _bought(bench, first, plan))
    await _months(bench, 12)
    year = _stored(bench)
    assert await _refolded(bench) == year
    await bench.send("account:again", _bought(bench, second, "team"))
    await _months(bench, 3)
    stored = _stored(bench)
    assert await _refolded(bench) == stored
    assert [place for place in year if place[0] == "transactions" and stored[place] != year[place]] == []
    told = {"stays": [15] * 16, "gone": [20] * 16, "again": [15] * 13 + [40 - 15] + [40] * 3}
    for account, granted in told.items():
        moved = (await list_transactions(bench.documents, 2, account, limit=100)).items
        assert [each.amount for each in reversed(moved) if each.kind == "grant"] == [each * MICRO for each in granted]
        balance = (await get_credits(bench.documents, 2, account)).balance
        assert sum(each.amount for each in moved) == balance == granted[-1] * MICRO
    stays, gone = [account_plan(second, await get_subscription(bench.documents, 2, each)) for each in ("stays", "gone")]
    assert (stays.plan, gone.plan.id, terms_of(gone.plan)) == (second["team"], "pro", terms_of(first["pro"]))


def _bought(bench: Bench, plans: Plans, plan: str) -> ConfirmSubscription:
    """News that the plan was bought now, in the terms of the file."""
    return news(f"{plan} at {bench.at}", bench.at, plan=plan, terms=terms_of(plans[plan]))


async def _months(bench: Bench, count: int) -> None:
    """So many months in which nobody but the sweeper comes."""
    sweeper = Sweeper(bench.store, bench.log, bench.shards)
    await bench.run()
    for _ in range(count):
        bench.at = max(due_at for _, due_at in await bench.store.due([0, 1], bench.at + 31 * DAY, 10))
        await sweeper.sweep([0, 1], bench.at)
        await bench.run()


async def _refolded(bench: Bench) -> dict[tuple[str, str], bytes]:
    """All documents by collection and key, made of the log alone."""
    documents: dict[tuple[str, str], object] = {}
    for shard in range(bench.shards):
        async for stored in read_shard(bench.store, shard, page=7):
            recorded = codec.recorded(stored)
            for projection in projections_of(type(recorded.event)):
                key = projection.key(recorded)
                if key is not None:
                    place = (projection.collection, key)
                    documents[place] = projection.evolve(documents.get(place), recorded)
    known = all_projections()
    return {place: known[place[0]].encode(document) for place, document in documents.items()}


def _stored(bench: Bench) -> dict[tuple[str, str], bytes]:
    """All documents as the worker has folded them, round by round."""
    return {
        (collection, key): change.doc
        for collection, documents in bench.documents._documents.items()
        for key, change in documents.items()
        if change.doc is not None
    }
