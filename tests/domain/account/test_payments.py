"""Payments: bought once, taken back by refunds and disputes to the micro-credit, in whatever order they are told."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from domain.account.account import Account
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid
from domain.account.payment import DisputeStatus
from domain.account.payments import (
    DISPUTES_MAX,
    ConfirmPayment,
    DisputePayment,
    PaymentCommand,
    RefundPayment,
)
from domain.instant import SECOND
from domain.money import AMOUNT_MAX
from tests.domain.account.asking import account, account_with, add, place, release, settle
from tests.domain.scenario import T0, Scenario, of_type

CREDITS = 110
PAID = 100


def confirm(payment: str = "pi_1", credits: int = CREDITS, paid: int = PAID, *, granted: bool = True) -> ConfirmPayment:
    """A pack with a bonus of a tenth."""
    return ConfirmPayment(
        payment_id=payment,
        grant_id=f"grant_{payment}",
        credits=credits,
        paid_cents=paid,
        occurred_at=T0,
        granted=granted,
    )


def refund(cents: int, after_s: int = 1, payment: str = "pi_1") -> RefundPayment:
    """So much was sent back, all in all."""
    return RefundPayment(payment_id=payment, refunded_cents=cents, occurred_at=T0 + after_s * SECOND)


def dispute(
    status: DisputeStatus, after_s: int = 1, *, cents: int = PAID, dispute_id: str = "dp_1", payment: str = "pi_1"
) -> DisputePayment:
    """How a dispute stands."""
    return DisputePayment(
        payment_id=payment,
        dispute_id=dispute_id,
        status=status,
        amount_cents=cents,
        occurred_at=T0 + after_s * SECOND,
    )


def figures(scenario: Scenario[Account]) -> tuple[int, int, int]:
    """Balance, what is available, debt."""
    credits = scenario.state.credits
    return credits.balance, credits.available, credits.debt


def holds_good(scenario: Scenario[Account]) -> None:
    """What is true of every account, and of its replay."""
    credits = scenario.state.credits
    assert credits.balance == sum(grant.remaining for grant in credits.grants.values())
    assert credits.available >= 0
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_payment_grants_once() -> None:
    """Whoever says it and how often: the client and the webhook are one purchase."""
    scenario = account()
    events = scenario.when(confirm())
    assert of_type(events, CreditsGranted)[0].amount == CREDITS
    assert scenario.when(confirm()) == []
    assert figures(scenario) == (CREDITS, CREDITS, 0)
    assert scenario.answer["credits"] == CREDITS
    holds_good(scenario)


@pytest.mark.parametrize("credits", [0, -1, AMOUNT_MAX + 1])
def test_an_amount_out_of_range_is_refused(credits: int) -> None:
    """Nothing and less than nothing are no purchase."""
    assert account().refused(confirm(credits=credits)).code == "invalid_amount"


def test_negative_cents_are_refused() -> None:
    """A refund of less than nothing would give credits away."""
    scenario = account()
    assert scenario.refused(refund(-1)).code == "invalid_amount"
    assert scenario.refused(dispute("open", cents=-1)).code == "invalid_amount"
    assert scenario.refused(confirm(paid=-1)).code == "invalid_amount"


def test_a_partial_refund_takes_its_part_of_the_bonus_too() -> None:
    """A third of the money takes a third of all credits, rounded down; the last cent takes all that is left."""
    scenario = account()
    scenario.when(confirm())
    scenario.when(refund(33))
    assert figures(scenario) == (CREDITS - 36, CREDITS - 36, 0)  # 110 x 33 / 100 = 36.3
    scenario.when(refund(66, 2))
    assert figures(scenario) == (CREDITS - 72, CREDITS - 72, 0)  # cumulative: 72.6, not 36 twice and what follows
    scenario.when(refund(100, 3))
    assert figures(scenario) == (0, 0, 0)
    holds_good(scenario)


def test_a_refund_that_failed_gives_back() -> None:
    """The newest says how much was sent back, also where that is less than before."""
    scenario = account()
    scenario.when(confirm())
    scenario.when(refund(100, 1))
    assert of_type(scenario.when(refund(50, 2)), CreditsGivenBack)[0].amount == 55
    assert figures(scenario) == (55, 55, 0)


def test_spent_credits_that_are_disputed_are_debt() -> None:
    """Debt is shown apart, refuses paid use, and is repaid first by the next grant."""
    scenario = account()
    scenario.when(confirm())
    scenario.when(place("h", 100))
    scenario.when(settle("h", 80))
    taken = of_type(scenario.when(dispute("open")), CreditsTakenBack)[0]
    assert (taken.amount, taken.charged, taken.owed) == (110, 30, 80)
    assert figures(scenario) == (0, 0, 80)
    assert scenario.refused(place("more", 1)).code == "debt_outstanding"
    scenario.when(add("next", 100))
    assert figures(scenario) == (20, 20, 0)
    holds_good(scenario)


def test_a_claw_back_takes_its_own_grant_first_then_the_others() -> None:
    """What a payment brought leaves before what others brought, in the burn order of these."""
    scenario = account()
    scenario.when(add("early", 10, priority=1))
    scenario.when(add("late", 50, priority=200))
    scenario.when(confirm())
    scenario.when(refund(50))
    assert {grant.id: grant.remaining for grant in scenario.state.credits.grants.values()} == {
        "early": 10,
        "grant_pi_1": 55,
        "late": 50,
    }
    scenario.when(place("h", 30))
    scenario.when(settle("h", 30))  # early, then 20 of the payment's
    scenario.when(refund(100, 2))
    assert {grant.id: grant.remaining for grant in scenario.state.credits.grants.values()} == {"late": 30}


def test_a_claw_back_leaves_holds_covered() -> None:
    """Running requests were promised their credits: what they hold becomes debt, and is repaid when they let go."""
    scenario = account()
    scenario.when(confirm())
    scenario.when(place("h", 40))
    scenario.when(dispute("open"))
    assert figures(scenario) == (40, 0, 40)
    events = scenario.when(release("h"))
    assert of_type(events, DebtRepaid)[0].amount == 40
    assert figures(scenario) == (0, 0, 0)
    holds_good(scenario)


def test_a_dispute_that_is_won_gives_back_what_it_took() -> None:
    """Debt first, the rest into the payment's own grant at its old place."""
    scenario = account_with(7, priority=200)
    scenario.when(confirm())
    scenario.when(place("h", 30))
    scenario.when(settle("h", 30))
    before = dict(scenario.snapshot().credits.grants)
    scenario.when(dispute("open", 1))
    assert figures(scenario) == (0, 0, 23)
    returned = of_type(scenario.when(dispute("won", 2)), CreditsGivenBack)[0]
    assert (returned.amount, returned.repaid, returned.balance, returned.debt) == (110, 23, 87, 0)
    assert figures(scenario) == (87, 87, 0)
    assert list(before) == ["grant_pi_1", "g"]
    assert list(scenario.state.credits.grants) == ["grant_pi_1"]
    holds_good(scenario)


def test_a_lost_dispute_stays() -> None:
    """Nothing comes back, and a refund of the same payment takes nothing more."""
    scenario = account()
    scenario.when(confirm())
    for command in (dispute("open", 1), dispute("lost", 2), refund(100, 3)):
        scenario.when(command)
    assert figures(scenario) == (0, 0, 0)


def test_credits_that_a_plan_granted_leave_with_its_payment() -> None:
    """A payment whose credits come by the plan grants nothing itself."""
    scenario = account()
    scenario.when(add("grant_pi_1", 20))
    assert of_type(scenario.when(confirm(credits=20, granted=False)), CreditsGranted) == []
    scenario.when(refund(50))
    assert figures(scenario) == (10, 10, 0)
    scenario.when(refund(0, 2))
    assert scenario.state.credits.grants["grant_pi_1"].remaining == 20


def test_what_is_free_takes_nothing_back() -> None:
    """A purchase for nothing cannot be refunded."""
    scenario = account()
    scenario.when(confirm(paid=0))
    scenario.when(refund(5))
    assert figures(scenario) == (CREDITS, CREDITS, 0)


def test_disputes_are_bounded() -> None:
    """The state stays small: nobody has a hundred disputes of one payment."""
    scenario = account()
    for number in range(DISPUTES_MAX):
        scenario.when(dispute("open", dispute_id=f"dp_{number}"))
    assert scenario.refused(dispute("open", dispute_id="more")).code == "too_many_disputes"


FACTS: dict[str, Sequence[PaymentCommand]] = {
    "won": (confirm(), refund(20, 1), refund(30, 2), dispute("open", 3, cents=70), dispute("won", 4, cents=70)),
    "lost": (confirm(), refund(20, 1), refund(30, 2), dispute("open", 3, cents=70), dispute("lost", 4, cents=70)),
    "both": (confirm(), refund(100, 1), dispute("open", 2), dispute("lost", 3), dispute("open", 1, dispute_id="dp_2")),
    "failed refund": (confirm(), refund(100, 1), refund(40, 2), refund(60, 3), refund(0, 4)),
}
REMAINING = {"won": 77, "lost": 0, "both": 0, "failed refund": CREDITS}


@pytest.mark.parametrize("owed", [0, 30])
@pytest.mark.parametrize("name", FACTS)
def test_every_order_and_twice_each_ends_alike(name: str, owed: int) -> None:
    """All that is told of one purchase, in every order, each at once again and all once more: one end state."""
    ends = {}
    for order in itertools.permutations(FACTS[name]):
        scenario = _owing(owed)
        for command in (*(each for each in order for _ in range(2)), *reversed(order)):
            scenario.when(command)
            assert scenario.state.credits.available >= 0
        credits = scenario.state.credits
        end = (
            tuple((grant.id, grant.remaining) for grant in credits.grants.values()),
            credits.balance - credits.debt,
            credits.debt,
            json.encode(scenario.state.payments.by_id, order="sorted"),
        )
        ends[end] = scenario
    ((_, worth, *_), scenario), *others = ends.items()
    assert others == []
    assert worth == REMAINING[name] - owed
    holds_good(scenario)


def _owing(amount: int) -> Scenario[Account]:
    """An account that has spent more than it had."""
    scenario = account()
    if amount:
        scenario.when(add("spent", 1))
        scenario.when(place("h", 1))
        scenario.when(settle("h", amount + 1))
        assert scenario.state.credits.debt == amount
    return scenario


CENTS = st.integers(0, PAID)
STEPS = st.lists(
    st.one_of(
        st.builds(lambda _: confirm(), st.none()),
        st.builds(refund, CENTS, st.integers(1, 9)),
        st.builds(
            lambda status, after_s, cents, number: dispute(status, after_s, cents=cents, dispute_id=f"dp_{number}"),
            st.sampled_from(["open", "won", "lost"]),
            st.integers(1, 9),
            CENTS,
            st.integers(1, 2),
        ),
        st.integers(1, 60),
    ),
    max_size=20,
)


@settings(max_examples=300)
@given(STEPS)
def test_net_worth_is_what_was_bought_less_what_left_and_was_used(steps: Sequence[PaymentCommand | int]) -> None:
    """Balance less debt is exact after each step, however news and uses alternate."""
    scenario = account()
    scenario.when(add("own", 50))
    spent = 0
    for number, step in enumerate(steps):
        if isinstance(step, int):
            if scenario.state.credits.debt == 0 and scenario.state.credits.available > 0:
                scenario.when(place(f"h{number}", 1))
                scenario.when(settle(f"h{number}", step))
                spent += step
        else:
            scenario.when(step)
        credits, payment = scenario.state.credits, scenario.state.payments.by_id.get("pi_1")
        bought = CREDITS if payment is not None and payment.bought is not None else 0
        away = 0 if payment is None else payment.gone()
        assert payment is None or payment.taken == away
        assert 0 <= away <= bought
        assert credits.balance - credits.debt == 50 + bought - away - spent
        assert credits.balance == 0 or credits.debt == 0
        assert credits.available >= 0
    holds_good(scenario)
