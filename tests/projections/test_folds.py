"""Read models against the aggregate: what is shown is what is decided on (I4, I6)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.recorded import Recorded
from projections import (
    api_key_events,
    api_keys,
    credits,
    holds,
    stamps,
    subscriptions,
    transactions,
)
from projections.subscriptions import SubscriptionView
from tests.domain.account.asking import account_with
from tests.domain.scenario import T0
from tests.projections.histories import ACCOUNT, METADATA, folded, history

STAMPED = stamps.PROJECTION.events
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
def test_subscriptions_are_as_decided(seed: int) -> None:
    """Plan, status, period, grace, and what is scheduled."""
    scenario, recorded = history(seed)
    known = scenario.state.subscription
    view = folded(subscriptions.PROJECTION, recorded).get(ACCOUNT, SubscriptionView(account_id=ACCOUNT))
    for name in ("plan", "status", "terms", "period_start", "period_end", "seats", "grace_until", "scheduled"):
        assert getattr(view, name) == getattr(known, name), name
    assert (view.occurred_at or -1) == known.occurred_at


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


def test_grants_of_the_same_name_are_transactions_of_their_own() -> None:
    """Two accounts may have the same plan for the same period, and each keeps its own record of its credits."""
    scenario = account_with(5)
    keys = set()
    for account_id in ("user_aa", "user_bb"):
        for grant_id in ("plan_1800000000000000_5", "grant_0123"):
            granted = structs.replace(scenario.events[0], grant_id=grant_id)
            recorded = Recorded(
                stream=f"account:{account_id}",
                entity_id=account_id,
                version=1,
                shard=0,
                seq=1,
                at=T0,
                metadata=METADATA,
                event=granted,
            )
            key = transactions.PROJECTION.key(recorded)
            keys.add(key)
            assert transactions.grant_transaction(account_id, grant_id) == key
    assert keys == {"txn_0123", "txn_aa_plan_1800000000000000_5", "txn_bb_plan_1800000000000000_5"}


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
    changed = {stamps.PROJECTION.key(each): each.seq for each in recorded if type(each.event) in STAMPED}
    assert {key: stamp.seq for key, stamp in folded(stamps.PROJECTION, recorded).items()} == changed
