"""Read models against the aggregate: what is shown is what is decided on (I4, I6)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account.holds import HoldClosed, HoldCorrected, HoldPlaced
from domain.instant import DAY, HOUR
from projections import (
    api_key_events,
    api_keys,
    credits,
    holds,
    stamps,
    transactions,
    usage,
    usage_days,
    usage_quarters,
)
from projections.documents import Change
from projections.memory import MemoryDocuments
from projections.paging import instant_sort
from projections.usage import QUARTER, UsageBucket, sum_usage
from tests.domain.scenario import T0
from tests.projections.histories import ACCOUNT, folded, history

SEEDS = st.integers(0, 2**32)
HISTORIES = settings(max_examples=60, deadline=None)


@HISTORIES
@given(SEEDS)
def test_credits_are_the_ledger(seed: int) -> None:
    """Balance, held, debt, and the grants in the order in which they are burnt."""
    scenario, recorded = history(seed)
    ledger = scenario.state.credits
    view = folded(credits.PROJECTION, recorded).get(ACCOUNT, credits.CreditsView(account_id=ACCOUNT))
    assert (view.balance, view.held, view.debt, view.available) == (
        ledger.balance,
        ledger.held,
        ledger.debt,
        ledger.available,
    )
    assert [(grant.id, grant.remaining, grant.priority, grant.expires_at) for grant in view.grants] == [
        (grant.id, grant.remaining, grant.priority, grant.expires_at) for grant in ledger.grants.values()
    ]


@HISTORIES
@given(SEEDS)
def test_transactions_add_up(seed: int) -> None:
    """I6: each transaction's balance and debt are the sums of all movements up to it."""
    scenario, recorded = history(seed)
    found = sorted(folded(transactions.PROJECTION, recorded).values(), key=lambda each: each.version)
    balance = debt = 0
    for each in found:
        balance += each.amount
        debt += each.owed - each.repaid
        assert each.balance == balance
        assert each.kind == "expiry" or each.debt == debt
    assert (balance, debt) == (scenario.state.credits.balance, scenario.state.credits.debt)


@HISTORIES
@given(SEEDS)
def test_holds_are_listed_as_they_ended(seed: int) -> None:
    """Open ones are those of the ledger; each closed one shows its one end and its cost in the end (I7)."""
    scenario, recorded = history(seed)
    views = folded(holds.PROJECTION, recorded)
    ledger = scenario.state.credits
    assert {key: view.amount for key, view in views.items() if view.status == "open"} == {
        hold.id: hold.amount for hold in ledger.holds.values()
    }
    assert {key: view.usage for key, view in views.items() if view.status == "open"} == {
        hold.id: hold.progress for hold in ledger.holds.values()
    }
    costs = {event.hold_id: 0 for event in scenario.events if isinstance(event, HoldPlaced)}
    for event in scenario.events:
        if isinstance(event, HoldClosed):
            assert views[event.hold_id].status == event.how
            costs[event.hold_id] += event.cost
        elif isinstance(event, HoldCorrected):
            assert views[event.hold_id].corrected
            costs[event.hold_id] += event.difference
    assert {key: view.cost for key, view in views.items()} == costs


@HISTORIES
@given(SEEDS)
def test_usage_equals_charges(seed: int) -> None:
    """Quarters and days both add up to what was charged and owed, and to the tokens of all holds, nothing negative."""
    scenario, recorded = history(seed)
    cost = sum(event.cost for event in scenario.events if isinstance(event, HoldClosed))
    cost += sum(event.difference for event in scenario.events if isinstance(event, HoldCorrected))
    used = [view.usage for view in folded(holds.PROJECTION, recorded).values() if view.status != "open"]
    for projection in (usage_quarters.PROJECTION, usage_days.PROJECTION):
        buckets = list(folded(projection, recorded).values())
        total, groups = sum_usage(buckets, "day")
        assert total.cost == sum(group.cost for group in groups) == cost
        assert total.output == sum(each.output for each in used)
        assert total.input == sum(each.input for each in used)
        assert total.requests == sum(1 for each in used if each.source != "none")
        assert total.estimated == sum(1 for each in used if each.source == "estimated")
        assert all(min(each.requests, each.estimated, each.input, each.cached, each.output) >= 0 for each in buckets)


@HISTORIES
@given(SEEDS)
def test_keys_are_those_of_the_account(seed: int) -> None:
    """Working ones as they are now, revoked ones as revoked; each change has bumped the key's stamp, no use has."""
    scenario, recorded = history(seed)
    views = folded(api_keys.PROJECTION, recorded)
    keys = scenario.state.api_keys
    assert {
        key: (view.name, view.digest, view.limits, view.expires_at, None if view.old is None else view.old.until)
        for key, view in views.items()
        if view.revoked_at is None
    } == {
        key: (value.name, value.digest, value.limits, value.expires_at, value.old_until)
        for key, value in keys.active.items()
    }
    last = scenario.state.api_key_use.last
    assert {key for key, view in views.items() if view.last_used_at is not None} == set(last)
    minutes = [each for each in folded(api_key_events.PROJECTION, recorded).values() if each.kind == "used"]
    for key_id, minute in last.items():
        listed = [each for each in minutes if each.key_id == key_id]
        assert (listed[-1].count, listed[-1].refused) == (minute.count, minute.refused)
    assert {key for key, view in views.items() if view.revoked_at is not None} == keys.revoked
    changed = {each.event.key_id: each.seq for each in recorded if type(each.event) in stamps.PROJECTION.events}  # type: ignore[attr-defined]
    assert {key: stamp.seq for key, stamp in folded(stamps.PROJECTION, recorded).items()} == changed


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (0, DAY),
        (QUARTER, DAY + QUARTER),
        (HOUR, 2 * HOUR),
        (DAY - QUARTER, 3 * DAY + HOUR),
        (DAY, 3 * DAY),
        (2 * HOUR, HOUR),
    ],
)
async def test_a_period_is_exact_to_the_quarter(start: int, end: int) -> None:
    """Whole days and the quarters at their edges count every request of the period once, and no other."""
    day = T0 - T0 % DAY
    documents = MemoryDocuments()
    quarters = [day + number * QUARTER for number in range(4 * 96)]
    buckets = {
        usage_quarters.PROJECTION.collection: quarters,
        usage_days.PROJECTION.collection: sorted({quarter - quarter % DAY for quarter in quarters}),
    }
    for collection, starts in buckets.items():
        each = 1 if collection == usage_quarters.PROJECTION.collection else 96
        documents._apply({collection: [_change(begin, each) for begin in starts]})
    found = await usage_days.usage_between(documents, 1, ACCOUNT, day + start, day + end)
    wanted = sum(1 for quarter in quarters if day + start <= quarter < day + end)
    assert sum(bucket.requests for bucket in found) == wanted


def _change(start: int, requests: int) -> Change:
    bucket = UsageBucket(account_id=ACCOUNT, start=start, model="m", requests=requests)
    doc = usage_quarters.PROJECTION.encode(bucket)
    return Change(shard=0, key=f"{ACCOUNT}:{start}", owner=ACCOUNT, sort=instant_sort(start), doc=doc)


def test_groups_are_by_what_was_asked() -> None:
    """By model, by key, by day; the total is the same."""
    buckets = [
        UsageBucket(account_id=ACCOUNT, start=T0, model=model, key_id=key, requests=1, cost=cost)
        for model, key, cost in (("m1", "k1", 1), ("m2", "k1", 2), ("m2", None, 4))
    ]
    by: dict[usage.Grouping, list[tuple[str, int]]] = {
        "model": [("m1", 1), ("m2", 6)],
        "api_key": [("", 4), ("k1", 3)],
        "day": [(str(T0 - T0 % DAY), 7)],
    }
    for grouping, wanted in by.items():
        total, groups = sum_usage(buckets, grouping)
        assert [(group.group, group.cost) for group in groups] == wanted
        assert total.cost == 7
