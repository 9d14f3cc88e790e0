"""Grants: what comes in, in which order it is burnt, what it repays, and when it runs out."""

import pytest

from domain.account.credits import BALANCE_MAX, GRANTS_MAX, CreditsGranted, DebtRepaid, GrantExpired
from domain.account.holds import HoldClosed
from domain.instant import SECOND
from domain.money import AMOUNT_MAX
from tests.domain.account.asking import account, account_with, add, place, release, settle
from tests.domain.scenario import T0, of_type


@pytest.mark.parametrize("amount", [1, 999_999, 1_000_000, AMOUNT_MAX])
def test_a_grant_is_the_balance(amount: int) -> None:
    """What is granted is there to the micro-credit, from the smallest amount to the largest."""
    scenario = account()
    granted = of_type(scenario.when(add("g", amount)), CreditsGranted)[0]
    assert (granted.amount, granted.balance, granted.repaid) == (amount, amount, 0)
    assert scenario.answer["balance"] == scenario.answer["available"] == amount


@pytest.mark.parametrize("amount", [0, -1, -AMOUNT_MAX, AMOUNT_MAX + 1])
def test_an_amount_out_of_range_is_refused(amount: int) -> None:
    """Nothing, less than nothing and more than the largest amount are no grants."""
    assert account().refused(add("g", amount)).code == "invalid_amount"


def test_a_grant_that_has_run_out_is_refused() -> None:
    """A grant must end in the future."""
    assert account().refused(add("g", 1, expires_at=T0)).code == "invalid_expiry"


def test_the_balance_is_bounded() -> None:
    """Many of the largest grants stay far below what a 64-bit integer can hold."""
    scenario = account()
    for number in range(BALANCE_MAX // AMOUNT_MAX):
        scenario.when(add(f"g{number}", AMOUNT_MAX))
    assert scenario.refused(add("more", 1)).code == "balance_too_large"
    assert scenario.state.credits.balance == BALANCE_MAX < 2**62


def test_the_number_of_grants_is_bounded() -> None:
    """An account's state stays small whatever its clients do."""
    scenario = account()
    for number in range(GRANTS_MAX):
        scenario.when(add(f"g{number}", 1))
    assert scenario.refused(add("more", 1)).code == "too_many_grants"


def test_a_grant_id_counts_once() -> None:
    """The same grant again is refused and changes nothing: its id would stand for two amounts."""
    scenario = account_with(5)
    assert scenario.refused(add("g", 5)).code == "grant_exists"
    assert scenario.state.credits.balance == 5


def test_burn_order_is_total() -> None:
    """Lower priority first, then what expires first, what never expires last, then the oldest, then by id."""
    scenario = account()
    scenario.when(add("older", 1))
    scenario.when(add("z", 1), at=T0 + 1)
    scenario.when(add("a", 1))
    scenario.when(add("expires_late", 1, expires_at=T0 + 90 * SECOND))
    scenario.when(add("expires_soon", 1, expires_at=T0 + 60 * SECOND))
    scenario.when(add("urgent", 1, priority=1))
    scenario.when(place("h", 6))
    closed = of_type(scenario.when(settle("h", 6)), HoldClosed)[0]
    order = ["urgent", "expires_soon", "expires_late", "older", "a", "z"]
    assert [burn.grant_id for burn in closed.burns] == order


def test_a_grant_expires_at_its_time() -> None:
    """Not a microsecond before, and all that is left of it."""
    scenario = account_with(5, expires_at=T0 + SECOND)
    assert scenario.pass_time(T0 + SECOND - 1) == []
    assert scenario.pass_time(T0 + SECOND) == [GrantExpired(grant_id="g", amount=5, balance=0)]
    assert scenario.aggregate.next_due(scenario.state) is None


def test_what_a_hold_needs_does_not_expire() -> None:
    """Credits that were reserved in time stay until the hold is closed, and are charged then."""
    scenario = account_with(5, expires_at=T0 + SECOND)
    scenario.when(place("h", 3))
    assert scenario.pass_time(T0 + SECOND) == [GrantExpired(grant_id="g", amount=2, balance=3)]
    assert scenario.aggregate.next_due(scenario.state) == scenario.state.credits.holds["h"].expires_at
    closed, *rest = scenario.when(settle("h", 3))
    assert (closed.charged, closed.owed, rest) == (3, 0, [])  # type: ignore[attr-defined]


def test_what_a_hold_gives_back_too_late_expires_at_once() -> None:
    """A committed account is never overdue: the command that frees an expired grant also ends it."""
    scenario = account_with(5, expires_at=T0 + SECOND)
    scenario.when(place("h", 5))
    events = scenario.when(release("h"), at=T0 + 2 * SECOND)
    assert events[1:] == [GrantExpired(grant_id="g", amount=5, balance=0)]
    assert scenario.aggregate.next_due(scenario.state) is None
    assert scenario.answer["available"] == 0


def test_debt_is_repaid_by_what_other_holds_set_free() -> None:
    """Nobody is locked out by a debt while credits lie there unused: debt and available credits never meet."""
    scenario = account_with(10)
    scenario.when(place("h", 4))
    scenario.when(place("other", 6))
    scenario.when(settle("h", 7))
    assert (scenario.answer["available"], scenario.answer["debt"]) == (0, 3)
    repaid = of_type(scenario.when(release("other")), DebtRepaid)[0]
    assert (repaid.amount, repaid.balance, repaid.debt) == (3, 3, 0)
    assert (scenario.answer["available"], scenario.answer["debt"]) == (3, 0)


def test_debt_is_repaid_first() -> None:
    """A grant repays what is owed before any of it becomes balance; only the rest can be used."""
    scenario = account_with(5)
    scenario.when(place("h", 5))
    scenario.when(settle("h", 12))
    assert scenario.state.credits.debt == 7
    part = of_type(scenario.when(add("part", 4)), CreditsGranted)[0]
    assert (part.repaid, part.balance, part.debt) == (4, 0, 3)
    rest = of_type(scenario.when(add("rest", 10)), CreditsGranted)[0]
    assert (rest.repaid, rest.balance, rest.debt) == (3, 7, 0)
    figures = {"amount": 7, "repaid": 3, "balance": 7, "held": 0, "available": 7, "debt": 0}
    assert scenario.answer == figures | {"grant_id": "rest", "source": "test", "reason": None}
    assert scenario.state.credits.grants.keys() == {"rest"}
