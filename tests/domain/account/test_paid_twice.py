"""Two payments for one period, and payments that the account has forgotten: what leaves with their money."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from domain.account import payments
from domain.account.account import Account
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.paid_periods import near, same_period
from domain.account.payment import PaidPeriod, Payment
from domain.account.payments import (
    PAYMENTS_MAX,
    ConfirmPayment,
    DisputePayment,
    PaymentCommand,
    PaymentRecalled,
    Recalled,
    RefundPayment,
    told_of,
)
from domain.instant import DAY, MINUTE, SECOND, Instant
from domain.message import Event
from tests.domain.account.asking import account, account_with
from tests.domain.account.subscribing import news
from tests.domain.scenario import T0, Scenario, of_type

MONTH = 30 * DAY
MONTHLY = 2_000


def paid(name: str, since: Instant = T0, credits: int = MONTHLY, *, entitled: int = MONTHLY) -> ConfirmPayment:
    """A plan's payment of a dollar for thirty days."""
    period = PaidPeriod(since=since, until=since + MONTH, entitled=entitled)
    return ConfirmPayment(
        payment_id=name,
        grant_id=f"plan_{since}_{credits}",
        credits=credits,
        paid_cents=100,
        occurred_at=since,
        priority=50,
        expires_at=since + MONTH,
        source="plan",
        granted=False,
        period=period,
    )


def refund(name: str, cents: int, after_s: int = 1) -> RefundPayment:
    """So much was sent back, all in all."""
    return RefundPayment(payment_id=name, refunded_cents=cents, occurred_at=T0 + after_s * SECOND)


def begun(reference: str, since: Instant, **changed: Any) -> Any:
    """News of a plan that is granted 2,000 a month."""
    told: dict[str, Any] = {"renews_by_itself": False, "period_start": since, "period_end": since + MONTH}
    return news(reference, since, **(told | changed))


def worth(scenario: Scenario[Account]) -> int:
    """What the account has, less what it owes."""
    return scenario.state.credits.balance - scenario.state.credits.debt


@pytest.mark.parametrize("apart", [0, 5 * MINUTE])
def test_a_second_payment_that_is_refunded_leaves_the_first_its_credits(apart: Instant) -> None:
    """The plan grants the period once; it stands as long as one payment that covers it stands."""
    scenario = account()
    scenario.when(begun("one", T0))
    scenario.when(paid("pi_1"))
    scenario.when(begun("two", T0 + apart), at=T0 + apart)
    scenario.when(paid("pi_2", T0 + apart))
    more = worth(scenario) - MONTHLY
    assert 0 <= more <= 1, "the second period is longer by minutes"
    scenario.when(refund("pi_2", 100))
    assert worth(scenario) == MONTHLY
    scenario.when(refund("pi_1", 50))
    assert worth(scenario) == MONTHLY // 2
    scenario.when(refund("pi_1", 100, 2))
    assert worth(scenario) == 0
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_parts_of_both_take_what_is_beyond_the_spare() -> None:
    """Twice the period was paid: the first half that leaves, of whichever, takes nothing."""
    scenario = account()
    scenario.when(begun("one", T0))
    for name in ("pi_1", "pi_2"):
        scenario.when(paid(name))
    for name, cents, left in (("pi_1", 60, 2_000), ("pi_2", 40, 2_000), ("pi_2", 50, 1_800), ("pi_1", 100, 1_000)):
        scenario.when(refund(name, cents, cents))
        assert worth(scenario) == left, (name, cents)


def test_what_was_taken_comes_back_when_a_second_payment_is_told_late() -> None:
    """The order of news changes nothing in the end."""
    scenario = account()
    scenario.when(begun("one", T0))
    scenario.when(paid("pi_1"))
    scenario.when(refund("pi_1", 100))
    assert worth(scenario) == 0
    (back,) = of_type(scenario.when(paid("pi_2")), CreditsGivenBack)
    assert (back.payment_id, back.reason) == ("pi_1", "paid twice")
    assert worth(scenario) == MONTHLY


NEWS: Sequence[PaymentCommand] = (
    paid("pi_1"),
    paid("pi_2", T0 + MINUTE),
    refund("pi_1", 70, 1),
    refund("pi_1", 30, 2),
    DisputePayment(payment_id="pi_2", dispute_id="dp", status="lost", amount_cents=90, occurred_at=T0 + SECOND),
)


def test_every_order_ends_alike() -> None:
    """Of two payments and what left of them: the same money, and the same away of each."""
    ends = set()
    for order in itertools.permutations(NEWS):
        scenario = account()
        scenario.when(begun("one", T0))
        for command in (*order, *order):
            scenario.when(command)
        known = scenario.state.payments.by_id
        ends.add((worth(scenario), known["pi_1"].taken, known["pi_2"].taken))
        assert scenario.replayed() == scenario.state
    assert len(ends) == 1
    assert next(iter(ends))[0] == MONTHLY - (600 + 1_800 - 2_000)


def test_a_payment_alone_has_nothing_spare() -> None:
    """One invoice may charge for more than its period grants, or for less: all of its money takes all of it."""
    for credits in (MONTHLY - 500, MONTHLY + 500):
        scenario = account_with(10_000)
        scenario.when(paid("pi_1", credits=credits))
        scenario.when(refund("pi_1", 100))
        assert worth(scenario) == 10_000 - credits


def test_the_next_period_and_an_upgrade_are_no_second_payment() -> None:
    """Only payments for the same period cover each other."""
    scenario = account_with(10_000)
    for name, since in (("pi_1", T0), ("pi_2", T0 + MONTH), ("pi_3", T0 + 15 * DAY)):
        scenario.when(paid(name, since))
    for name in ("pi_2", "pi_3", "pi_1"):
        before = worth(scenario)
        scenario.when(refund(name, 100))
        assert worth(scenario) == before - MONTHLY, name


def bought_anew(refunded_cents: int, *, payment_first: bool) -> Scenario[Account]:
    """Refunded, canceled and bought again within a minute."""
    scenario = account()
    scenario.when(begun("one", T0))
    scenario.when(paid("pi_1"))
    scenario.when(refund("pi_1", refunded_cents))
    scenario.when(begun("ends", T0 + 1, status="canceled", period_start=None, period_end=None))
    again = [paid("pi_2", T0 + MINUTE), begun("again", T0 + MINUTE)]
    for command in again if payment_first else reversed(again):
        scenario.when(command, at=T0 + MINUTE)
    return scenario


@pytest.mark.parametrize("payment_first", [True, False])
def test_bought_anew_the_same_day(payment_first: bool) -> None:
    """Refunded, canceled and bought again: one period's credits, whichever news come first."""
    scenario = bought_anew(100, payment_first=payment_first)
    assert MONTHLY <= worth(scenario) <= MONTHLY + 1
    scenario.when(refund("pi_2", 100, 100))
    assert 0 <= worth(scenario) <= 1
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize("payment_first", [True, False])
def test_bought_anew_the_same_day_when_a_part_was_refunded(payment_first: bool) -> None:
    """What is refunded of the first afterwards, and of the second, takes as much in either order of news."""
    scenario = bought_anew(50, payment_first=payment_first)
    assert MONTHLY <= worth(scenario) <= MONTHLY + 1
    scenario.when(refund("pi_1", 100, 50))
    assert MONTHLY <= worth(scenario) <= MONTHLY + 1
    scenario.when(refund("pi_2", 100, 100))
    assert 0 <= worth(scenario) <= 1
    assert scenario.replayed() == scenario.state == scenario.snapshot()


class Books:
    """All that the log says of payments, as the read model keeps it."""

    def __init__(self) -> None:
        self.told = 0
        self.known: dict[str, Payment] = {}

    def write(self, events: Sequence[Event]) -> None:
        """Folds the events of payments."""
        for event in events:
            if isinstance(event, payments.EVENTS):
                self.known[event.payment_id] = told_of(self.known.get(event.payment_id), event)
                self.told += 1

    def recalled(self, command: PaymentCommand) -> Recalled:
        """What is known of the payment and those for its period, which a purchase says itself."""
        name = command.payment_id
        together = dict(same_period(self.known, name)) if name in self.known else {}
        period = command.period if isinstance(command, ConfirmPayment) else None
        for other, payment in self.known.items():
            bought = payment.bought
            if period is not None and bought is not None and bought.period is not None and near(bought.period, period):
                together[other] = payment
        return Recalled(told=self.told, payments=together)

    def reminding(self, command: PaymentCommand) -> PaymentCommand:
        """The same news, saying what was known."""
        return structs.replace(command, recalled=self.recalled(command))


def test_a_refund_of_a_payment_that_was_forgotten() -> None:
    """The account remembers a thousand; older ones lose their credits all the same, once."""
    scenario, books = account(), Books()
    old = structs.replace(paid("old"), source="purchase", granted=True, period=None, expires_at=None)
    books.write(scenario.when(old))
    for number in range(PAYMENTS_MAX):
        books.write(scenario.when(refund(f"pi_{number}", 1)))
    assert "old" not in scenario.state.payments.by_id
    assert len(scenario.state.payments.by_id) == PAYMENTS_MAX
    assert scenario.refused(refund("old", 50)).code == "payment_forgotten"
    for cents, left in ((50, 1_000), (50, 1_000), (100, 0)):
        events = scenario.when(books.reminding(refund("old", cents, cents)))
        books.write(events)
        assert scenario.state.credits.balance == left
    assert books.known["old"].taken == MONTHLY
    assert [event.payment_id for event in scenario.events if isinstance(event, PaymentRecalled)] == ["old"]
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_what_was_read_before_it_was_forgotten_may_not_be_all() -> None:
    """A reading from before counts for nothing: it is read again."""
    scenario, books = account(), Books()
    old = structs.replace(paid("old"), source="purchase", granted=True, period=None, expires_at=None)
    books.write(scenario.when(old))
    stale = books.recalled(refund("old", 50))
    books.write(scenario.when(refund("old", 50)))
    for number in range(PAYMENTS_MAX):
        books.write(scenario.when(refund(f"pi_{number}", 1)))
    command = refund("old", 100, 2)
    assert scenario.refused(structs.replace(command, recalled=stale)).code == "payment_forgotten"
    (taken,) = of_type(scenario.when(books.reminding(command)), CreditsTakenBack)
    assert taken.amount == MONTHLY // 2


NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        NAMES.map(lambda name: paid(name, T0 + (name in "bd") * MINUTE + (name in "cd") * MONTH)),
        st.builds(refund, NAMES, st.integers(0, 100), st.integers(0, 9)),
        st.builds(
            lambda name, status, cents, after_s: DisputePayment(
                payment_id=name, dispute_id="dp", status=status, amount_cents=cents, occurred_at=T0 + after_s
            ),
            NAMES,
            st.sampled_from(["open", "lost", "won"]),
            st.integers(0, 100),
            st.integers(0, 9),
        ),
    ),
    max_size=25,
)


def test_a_refund_that_was_forgotten_before_its_purchase_was_told() -> None:
    """Known alone and pushed out by a thousand newer ones: the purchase grants what is left of it, and once."""
    scenario, books = account(), Books()
    books.write(scenario.when(refund("old", 25)))
    for number in range(PAYMENTS_MAX):
        books.write(scenario.when(books.reminding(refund(f"pi_{number}", 1))))
    old = structs.replace(paid("old"), source="purchase", granted=True, period=None, expires_at=None)
    assert scenario.refused(old).code == "payment_forgotten"
    for _ in range(2):
        books.write(scenario.when(books.reminding(old)))
        assert scenario.state.credits.balance == MONTHLY * 3 // 4
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@settings(max_examples=60)
@given(STEPS)
def test_who_remembers_little_decides_like_who_remembers_all(steps: Sequence[PaymentCommand]) -> None:
    """An account that keeps two payments, and one that keeps each: the same money after every step."""
    whole, short, books = account_with(9_000), account_with(9_000), Books()
    for step in steps:
        whole.when(step)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(payments, "PAYMENTS_MAX", 2)
            books.write(short.when(books.reminding(step)))
        assert worth(short) == worth(whole)
    assert books.known == whole.state.payments.by_id
