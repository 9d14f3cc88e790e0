"""Holds: what they reserve, and the one end that each of them has (I7)."""

from typing import Any

import pytest
from msgspec import structs

from domain.account.admission import HOLD_LENGTH_MAX, HOLDS_MAX
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced, HoldProgressed, Sweep
from domain.account.ledger import CLOSED_MAX, EXPIRED_REMEMBERED, EXPIRING_SPARE, FORGOTTEN_EVERY, REMEMBERED
from domain.account.usage import Price, Usage
from domain.instant import DAY, MINUTE, SECOND
from domain.message import Command
from domain.money import AMOUNT_MAX
from tests.domain.account.asking import (
    ONE_EACH,
    account,
    account_with,
    add,
    place,
    progress,
    release,
    settle,
    used,
)
from tests.domain.scenario import T0, of_type

END = T0 + 10 * MINUTE
"""When the holds of `place` run out."""


def test_a_hold_sets_credits_aside() -> None:
    """What is held is not available, and still in the balance."""
    scenario = account_with(10)
    placed = of_type(scenario.when(place("h", 4)), HoldPlaced)[0]
    assert placed.amount == 4
    assert scenario.answer == {
        "balance": 10,
        "held": 4,
        "available": 6,
        "debt": 0,
        "hold_id": "h",
        "amount": 4,
        "expires_at": END,
    }


def test_a_hold_takes_what_is_there_if_that_suffices() -> None:
    """Between its least and its wanted amount; below the least it is refused, and says what is missing."""
    scenario = account_with(10)
    scenario.when(place("h", 50, amount_min=10))
    assert scenario.state.credits.holds["h"].amount == 10
    refusal = scenario.refused(place("more", 5, amount_min=1))
    assert (refusal.code, refusal.detail) == ("insufficient_credits", {"required": 1, "available": 0})
    assert refusal.curable


def test_a_free_hold_needs_no_credits() -> None:
    """A model without a price is used without a balance, and with debt."""
    scenario = account()
    scenario.when(place("h", 0))
    scenario.when(settle("h", 5))
    assert scenario.state.credits.debt == 5
    scenario.when(place("free", 0))
    assert scenario.refused(place("paid", 1)).code == "debt_outstanding"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (place("h", -1), "invalid_amount"),
        (place("h", AMOUNT_MAX + 1), "invalid_amount"),
        (place("h", 1, amount_min=2), "invalid_amount"),
        (place("h", 1, amount_min=-1), "invalid_amount"),
        (place("h", 1, expires_at=T0), "invalid_expiry"),
        (place("h", 1, expires_at=T0 + HOLD_LENGTH_MAX + 1), "invalid_expiry"),
        (place("h", 1, price=structs.replace(ONE_EACH, output=-1)), "invalid_price"),
        (settle("nobody", 1), "hold_not_found"),
        (release("nobody"), "hold_not_found"),
        (progress("nobody", 1), "hold_not_found"),
        (settle("nobody", -1), "invalid_usage"),
        (progress("nobody", -1), "invalid_usage"),
    ],
)
def test_what_makes_no_sense_is_refused(command: Command, code: str) -> None:
    """Each with its own code, and without an event."""
    scenario = account_with(10)
    before = list(scenario.events)
    assert scenario.refused(command).code == code
    assert scenario.events == before


def test_a_settle_charges_what_was_used() -> None:
    """The rest of the hold is available again at once."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    closed = of_type(scenario.when(settle("h", 3)), HoldClosed)[0]
    assert (closed.how, closed.cost, closed.charged, closed.owed, closed.balance) == ("settled", 3, 3, 0, 7)
    assert scenario.answer["available"] == 7
    assert (scenario.answer["cost"], scenario.answer["charged"], scenario.answer["owed"]) == (3, 3, 0)


def test_settling_above_the_hold_takes_what_is_available_and_owes_the_rest() -> None:
    """What other holds have reserved is not touched; nothing goes below zero."""
    scenario = account_with(10)
    scenario.when(place("h", 4))
    scenario.when(place("other", 5))
    closed = of_type(scenario.when(settle("h", 20)), HoldClosed)[0]
    assert (closed.cost, closed.charged, closed.owed) == (20, 5, 15)
    assert scenario.answer["balance"] == scenario.answer["held"] == 5
    assert (scenario.answer["available"], scenario.answer["debt"]) == (0, 15)


def test_a_release_gives_everything_back() -> None:
    """Nothing is charged, and the end says why."""
    scenario = account_with(10)
    scenario.when(place("h", 4))
    closed = of_type(scenario.when(release("h")), HoldClosed)[0]
    assert (closed.how, closed.cost, closed.reason) == ("released", 0, "failed")
    assert scenario.answer["available"] == 10


def test_an_expiring_hold_is_charged_at_its_last_progress() -> None:
    """Whatever was last reported, at the hold's own time and not before."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(progress("h", 1))
    scenario.when(progress("h", 3))
    assert scenario.pass_time(END - 1) == []
    closed = of_type(scenario.when(Sweep(), at=END), HoldClosed)[0]
    assert (closed.how, closed.charged, closed.usage) == ("expired", 3, used(3, "estimated"))


def test_a_hold_without_progress_expires_free() -> None:
    """Nothing was delivered that anybody knows of."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    closed = of_type(scenario.pass_time(END), HoldClosed)[0]
    assert (closed.how, closed.cost, closed.usage) == ("expired", 0, Usage(source="none"))


def test_progress_is_told_once() -> None:
    """The same report again is no news; a closed hold hears nothing any more."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    assert len(of_type(scenario.when(progress("h", 3)), HoldProgressed)) == 1
    assert scenario.when(progress("h", 3)) == []
    scenario.when(settle("h", 3))
    assert scenario.when(progress("h", 5)) == []


@pytest.mark.parametrize("end", [settle("h", 3), release("h")])
def test_an_end_again_changes_nothing(end: Command) -> None:
    """Applied twice is applied once."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(end)
    assert scenario.when(end) == []


def test_a_closed_hold_is_not_placed_again() -> None:
    """Its id stands for one hold, which has had its end."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    assert scenario.when(place("h", 8)) == []
    scenario.when(release("h"))
    assert scenario.refused(place("h", 8)).code == "hold_closed"


@pytest.mark.parametrize("first", [settle("h", 3), release("h")])
def test_a_second_end_is_a_conflict(first: Command) -> None:
    """Whoever comes second is told so: another settle after a settle, any settle after a release."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(first)
    assert scenario.refused(settle("h", 4)).code == "hold_closed"


def test_a_late_settle_books_the_difference_once() -> None:
    """An expired hold was charged at its progress; what was really used comes later, and after that nothing more."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(progress("h", 3))
    scenario.pass_time(END)
    corrected = of_type(scenario.when(settle("h", 5)), HoldCorrected)[0]
    assert (corrected.difference, corrected.charged, corrected.balance) == (2, 2, 5)
    assert (corrected.closed_at, corrected.replaced, corrected.usage) == (END, used(3, "estimated"), used(5))
    assert scenario.answer["difference"] == 2
    assert scenario.refused(settle("h", 5)).code == "hold_not_found"


def test_a_late_settle_of_less_gives_back() -> None:
    """What was charged too much comes back as a grant that is burnt first."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(progress("h", 6))
    scenario.pass_time(END)
    corrected = of_type(scenario.when(settle("h", 1)), HoldCorrected)[0]
    assert (corrected.difference, corrected.charged, corrected.balance) == (-5, 0, 9)
    assert list(scenario.state.credits.grants) == ["correction_h", "g"]


def test_a_late_release_books_the_settle_back() -> None:
    """The settle was applied although its acknowledgement got lost: the client received nothing, so it pays nothing."""
    scenario = account_with(10)
    scenario.when(place("h", 8))
    scenario.when(settle("h", 8))
    corrected = of_type(scenario.when(release("h")), HoldCorrected)[0]
    assert (corrected.difference, corrected.balance, corrected.usage) == (-8, 10, Usage(source="none"))


def test_what_is_given_back_repays_debt_first() -> None:
    """A correction is a grant like any other."""
    scenario = account_with(10)
    scenario.when(place("h", 10))
    scenario.when(place("free", 0))
    scenario.when(settle("h", 10))
    scenario.when(settle("free", 4))
    corrected = of_type(scenario.when(release("h")), HoldCorrected)[0]
    assert (corrected.repaid, corrected.balance, corrected.debt) == (4, 6, 0)


def test_a_correction_never_takes_what_others_hold() -> None:
    """What cannot be covered is owed."""
    scenario = account_with(10)
    scenario.when(place("h", 4))
    scenario.pass_time(END)
    scenario.when(place("other", 7, expires_at=END + MINUTE))
    corrected = of_type(scenario.when(settle("h", 9)), HoldCorrected)[0]
    assert (corrected.charged, corrected.owed, scenario.state.credits.available) == (3, 6, 0)


@pytest.mark.parametrize(
    ("how", "end"), [("settled", settle("h", 3)), ("released", release("h")), ("expired", Sweep())]
)
def test_closed_holds_are_forgotten_in_time(how: Any, end: Command) -> None:
    """As long as an end can be corrected it is remembered, and no longer: state stays bounded."""
    scenario = account_with(100)
    scenario.when(place("h", 8))
    closed_at = END if how == "expired" else END - 1
    scenario.when(end, at=closed_at)
    last = closed_at + (EXPIRED_REMEMBERED if how == "expired" else REMEMBERED)
    for number, at in enumerate((last, last + 1)):
        scenario.when(place(f"later{number}", 1, expires_at=at + SECOND), at=at)
        scenario.when(release(f"later{number}"))
        assert (scenario.state.credits.ended("h") is not None) is (at == last)


def test_expired_holds_do_not_keep_settled_ones_in_memory() -> None:
    """An expired hold is remembered for days; settled ones behind it go after minutes all the same."""
    scenario = account_with(100)
    scenario.when(place("expires", 1))
    scenario.pass_time(END)
    for number in range(3):
        at = END + number * DAY // 2
        scenario.when(place(f"h{number}", 1, expires_at=at + SECOND), at=at)
        scenario.when(settle(f"h{number}", 1))
    assert [*scenario.state.credits.expired, *scenario.state.credits.closed] == ["expires", "h2"]


def test_holds_expire_in_order() -> None:
    """The earliest first, equal ones by id, so that a replay can never differ."""
    scenario = account_with(100)
    for hold_id, at in (("b", END), ("a", END), ("first", END - 1)):
        scenario.when(place(hold_id, 1, expires_at=at))
    assert [event.hold_id for event in of_type(scenario.pass_time(END), HoldClosed)] == ["first", "a", "b"]


def test_a_grant_added_while_all_is_held() -> None:
    """New credits become available; those reserved stay where they are."""
    scenario = account_with(10)
    scenario.when(place("h", 10))
    scenario.when(add("g2", 5))
    assert (scenario.answer["balance"], scenario.answer["available"]) == (15, 5)


def test_a_busy_account_remembers_a_bounded_number() -> None:
    """However many holds are closed within minutes, the oldest are forgotten first."""
    scenario = account_with(CLOSED_MAX + 2 * FORGOTTEN_EVERY)
    for number in range(CLOSED_MAX + 2 * FORGOTTEN_EVERY):
        scenario.when(place(f"h{number}", 1))
        scenario.when(settle(f"h{number}", 0))
        assert len(scenario.state.credits.closed) <= CLOSED_MAX + FORGOTTEN_EVERY
    credits = scenario.state.credits
    assert len(credits.closed) >= CLOSED_MAX
    assert next(iter(credits.closed)) == f"h{CLOSED_MAX + 2 * FORGOTTEN_EVERY - len(credits.closed)}"
    assert len(credits.expiring) <= 2 * EXPIRING_SPARE, "ends of closed holds do not pile up"


def test_all_holds_may_expire_at_once() -> None:
    """As many as an account can have, in order, in a time that grows with their number and not with its square."""
    scenario = account_with(HOLDS_MAX)
    for number in range(HOLDS_MAX):
        scenario.when(place(f"h{number:05d}", 1, expires_at=END - number % 3))
    scenario.pass_time(END)
    closed = of_type(scenario.events, HoldClosed)
    assert [event.hold_id for event in closed] == sorted(
        (event.hold_id for event in closed), key=lambda hold_id: (-(int(hold_id[1:]) % 3), hold_id)
    )
    assert scenario.state.credits.available == HOLDS_MAX


PRIORITY = Price(
    input=2_000_000,
    cached_input=200_000,
    output=8_000_000,
    version="priority",
    tier="priority",
    standard=Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="standard"),
)
IN_TIER = place("h", 100, price=PRIORITY)
BOTH = pytest.mark.parametrize(("standard", "total", "version"), [(False, 80, "priority"), (True, 40, "standard")])


@BOTH
def test_a_tier_is_charged_as_it_was_served(standard: bool, total: int, version: str) -> None:
    """A request that was served as any other is not charged as the tier; the same settle again changes nothing."""
    scenario = account_with(1_000)
    scenario.when(IN_TIER)
    served = structs.replace(settle("h", 10), standard=standard)
    (closed,) = of_type(scenario.when(served), HoldClosed)
    assert (closed.cost, closed.price_version, closed.standard) == (total, version, standard)
    assert scenario.when(served) == []
    assert scenario.state.credits.balance == 1_000 - total
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@BOTH
def test_a_late_settle_tells_the_tier(standard: bool, total: int, version: str) -> None:
    """A hold that ran out was charged as asked for, and is corrected though the tokens are no others."""
    scenario = account_with(1_000)
    scenario.when(IN_TIER)
    scenario.when(progress("h", 10))
    (expired,) = of_type(scenario.pass_time(END), HoldClosed)
    assert expired.cost == 80
    events = of_type(scenario.when(structs.replace(settle("h", 10), standard=standard), at=END), HoldCorrected)
    assert [(each.difference, each.price_version) for each in events] == ([(total - 80, version)])
    assert scenario.state.credits.balance == 1_000 - total
