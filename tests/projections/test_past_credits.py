"""Time travel: what is said of a moment is what was shown then, and what time alone had caused by then."""

from random import Random

import pytest

from domain.account.account import AGGREGATE
from domain.instant import Instant
from eventstore import past
from eventstore.past import TooLong, read_past
from projections.credits import CreditsView, get_credits
from projections.past_credits import credits_at
from projections.transactions import list_transactions
from tests.domain.account.asking import add, place, settle
from tests.projections.histories import some_command
from tests.worker.bench import Bench
from worker.show import describe

STREAM, ACCOUNT = "account:a1", "a1"


async def _lived(seed: int, commands: int = 120) -> tuple[Bench, dict[Instant, CreditsView]]:
    """An account with a past, and what was shown after each round."""
    random = Random(seed)
    bench = Bench(shards=1)
    shown: dict[Instant, CreditsView] = {}
    for number in range(commands):
        await bench.send(STREAM, some_command(random, number, bench.at))
        if random.random() < 0.4:
            await bench.run()
            shown[bench.at] = await get_credits(bench.documents, 1, ACCOUNT)
            bench.at += random.choice((1, 1_000_000, 90_000_000, 4_000_000_000))
    return bench, shown


@pytest.mark.parametrize("seed", range(6))
async def test_a_moment_is_what_was_shown_then(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages it takes. Where something was due and not written, the account has moved on by just that."""
    monkeypatch.setattr(past, "PAGE", 7)
    bench, shown = await _lived(seed)
    exact = 0
    for at, view in shown.items():
        then, found = await credits_at(bench.store, 1, ACCOUNT, at, events_max=10_000)
        assert AGGREGATE.next_due(found.state) is None or AGGREGATE.next_due(found.state) > at  # type: ignore[operator]
        if not found.due:
            assert then == view
            exact += 1
        between, _ = await credits_at(bench.store, 1, ACCOUNT, at - 1, events_max=10_000)
        assert between.available >= 0
    assert exact > 10


async def test_before_the_first_event_there_was_nothing() -> None:
    """An account that was never written, and one that was not yet."""
    bench = Bench(shards=1)
    await bench.send(STREAM, add("g", 5))
    await bench.run()
    for account_id, at in (("nobody", bench.at), (ACCOUNT, bench.at - 1)):
        view, found = await credits_at(bench.store, 1, account_id, at, events_max=1)
        assert (view, found.version, found.due) == (CreditsView(account_id=account_id), 0, ())


async def test_the_bound_counts_events_up_to_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the bound are read, one more is refused before anything is folded; later ones do not count."""
    monkeypatch.setattr(past, "PAGE", 2)
    bench = Bench(shards=1)
    for number in range(5):
        await bench.send(STREAM, add(f"g{number}", 1))
        await bench.run()
        bench.at += 1
    seen: list[int] = []
    with pytest.raises(TooLong):
        await read_past(bench.store, 0, STREAM, bench.at, seen=lambda each: seen.append(each.version), events_max=4)
    assert seen == []
    found = await read_past(bench.store, 0, STREAM, bench.at, seen=lambda each: seen.append(each.version), events_max=5)
    assert (found.version, seen) == (5, [1, 2, 3, 4, 5])
    assert (await read_past(bench.store, 0, STREAM, bench.at - 2, events_max=4)).version == 4


async def test_a_moment_holds_all_that_happened_in_its_microsecond() -> None:
    """Commands of one round have one time: none of them has happened before it, all have at it, whoever asks.

    So no moment shows a part of a round, and each is the sum of the transactions up to it.
    """
    bench = Bench(shards=1)
    for number in range(3):
        for command in (
            add(f"g{number}", 1_000),
            place(f"h{number}", 700),
            settle(f"h{number}", 300 + number),
            place(f"open{number}", 20),
        ):
            await bench.send(STREAM, command)
        await bench.run()
        bench.at += 1
    transactions = (await list_transactions(bench.documents, 1, ACCOUNT, limit=100)).items
    assert len({each.at for each in transactions}) == 3
    head = await bench.store.head(0, STREAM)
    assert head is not None
    for number, before in ((0, 0), (1, 700), (2, 1_399), (3, 2_097)):
        at = bench.at - 4 + number
        view, found = await credits_at(bench.store, 1, ACCOUNT, at, events_max=1_000)
        assert view.balance == before == sum(each.amount for each in transactions if each.at <= at)
        assert (view.held, found.version) == (20 * number, 4 * number)
        said = "\n".join(await describe(bench.store, head, at, events_max=100))
        assert f"version {found.version} of 12" in said
        assert f"balance 0.{view.balance:06d}, held 0.{view.held:06d}" in said
