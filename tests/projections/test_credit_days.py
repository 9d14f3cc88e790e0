"""Credits by day: all that came and went, and what was owed, against the account itself."""

from bisect import bisect_right

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account.claw_backs import CreditsTakenBack
from domain.account.credits import CreditsGranted, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.instant import DAY
from domain.recorded import Recorded
from projections import credit_days
from projections.credit_days import FLOWS, list_flows
from projections.documents import Change
from projections.memory import MemoryDocuments
from projections.usage import QUARTER
from tests.domain.scenario import T0
from tests.projections.histories import ACCOUNT, folded, history

BEGIN = T0 - T0 % DAY
END = BEGIN + 400 * DAY


def _stored(recorded: list[Recorded]) -> MemoryDocuments:
    documents, projection = MemoryDocuments(), credit_days.PROJECTION
    found = folded(projection, recorded).items()
    changes = [
        Change(shard=0, key=key, owner=ACCOUNT, sort=projection.sort(day), doc=projection.encode(day))
        for key, day in found
    ]
    documents._apply({projection.collection: changes})
    return documents


@given(st.integers(0, 2**32), st.integers(0, 96 * 20), st.integers(0, 96 * 20))
@settings(max_examples=80)
async def test_flows_are_what_has_happened(seed: int, first: int, length: int) -> None:
    """In all they come to the balance; in any period they are its events, and debt is what it was at every moment."""
    scenario, recorded = history(seed)
    documents, ledger = _stored(recorded), scenario.state.credits
    debt, flows = await list_flows(documents, 1, ACCOUNT, BEGIN, END)
    ends = [each for each in scenario.events if isinstance(each, HoldClosed)]
    cost = sum(each.cost for each in ends)
    cost += sum(each.difference for each in scenario.events if isinstance(each, HoldCorrected))
    came = sum(flow.granted + flow.given_back - flow.expired - flow.taken_back for flow in flows)
    assert (debt, came - cost) == (0, ledger.balance - ledger.debt)
    start = BEGIN + first * QUARTER
    end = start + length * QUARTER
    owed, part = await list_flows(documents, 1, ACCOUNT, start, end)
    assert owed == _debt_at(recorded, start)
    assert part == [flow for flow in flows if start <= flow.at < end]
    for flow in part:
        assert flow.debt == _debt_at(recorded, flow.at + QUARTER)
    for kind, name in ((CreditsGranted, "granted"), (GrantExpired, "expired"), (CreditsTakenBack, "taken_back")):
        happened = [each.event for each in recorded if type(each.event) is kind and start <= each.at < end]
        assert sum(getattr(flow, name) for flow in part) == sum(event.amount for event in happened)


def _debt_at(recorded: list[Recorded], at: int) -> int:
    """The debt after the last event before `at` that tells it."""
    told = [(each.at, debt) for each in recorded if (debt := getattr(each.event, "debt", None)) is not None]
    place = bisect_right(told, (at, -1))
    return 0 if place == 0 else int(told[place - 1][1])


def test_a_request_that_is_paid_for_writes_nothing() -> None:
    """A charge that the balance covers leaves these documents alone."""
    _, recorded = history(11)
    paid = [each for each in recorded if isinstance(each.event, HoldClosed) and each.event.owed == 0]
    assert paid
    assert all(credit_days.PROJECTION.key(each) is None for each in paid)
    assert set(FLOWS) < set(credit_days.Flow.__struct_fields__)
