"""Subscriptions against the naive one, over news in any order and again, owners' wishes, and time."""

from itertools import permutations
from operator import attrgetter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import structs

from domain.account.account import AGGREGATE, Account
from domain.account.credits import CreditsGranted
from domain.account.subscription import ConfirmSubscription
from domain.account.subscription_change import ChangeSubscription
from domain.errors import DomainError
from domain.instant import DAY, HOUR, Instant
from tests.domain.account.asking import account
from tests.domain.account.naive_subscription import NaiveSubscription, a_month_after
from tests.domain.account.subscribing import moment, news, terms
from tests.domain.scenario import Scenario, of_type

BEGIN = moment("2027-12-29")
PLANS = {"free": 0, "lite": 500, "pro": 2_000, "big": 7_001}
STATUSES = st.sampled_from(["trialing", "active", "active", "active", "past_due", "canceled"])
STEPS: st.SearchStrategy[Instant] = st.sampled_from([1, HOUR, DAY, 9 * DAY, 31 * DAY, 100 * DAY])
STARTS: st.SearchStrategy[Instant] = st.sampled_from([0, 5, 31, 62]).map(lambda days: BEGIN + days * DAY)
LENGTHS: st.SearchStrategy[Instant] = st.sampled_from([28, 31, 59]).map(lambda days: days * DAY)


@st.composite
def told(draw: st.DrawFn, statuses: st.SearchStrategy[str] = STATUSES, *, periods: bool = False) -> ConfirmSubscription:
    """News of any plan, some of them without a period."""
    plan = draw(st.sampled_from(list(PLANS)))
    period: dict[str, Any] = {}
    if periods or draw(st.booleans()):
        period["period_start"] = draw(STARTS)
        period["period_end"] = period["period_start"] + draw(LENGTHS)
    return news(
        draw(st.sampled_from("abc")),
        BEGIN + draw(st.integers(0, 12)) * DAY,
        plan=plan,
        status=draw(statuses),
        terms=terms(PLANS[plan], grace_days=draw(st.sampled_from([0, 7, 7]))),
        renews_by_itself=draw(st.booleans()),
        **period,
    )


class Subscriptions(RuleBasedStateMachine):
    """Two subscriptions that must never differ."""

    def __init__(self) -> None:
        super().__init__()
        self.real: Scenario[Account] = account()
        self.real.at = BEGIN
        self.naive = NaiveSubscription(at=BEGIN)
        self.told: list[ConfirmSubscription] = []

    @rule(command=told(), newer=st.integers(-1, 3))
    def hears(self, command: ConfirmSubscription, newer: int) -> None:
        """News, most of them newer than what is known, and at once the same again."""
        occurred_at = max(self.naive.heard[0], self.real.at) + newer * HOUR
        command = structs.replace(command, occurred_at=occurred_at)
        self.naive.tell(command)
        self.naive.wait(self.naive.at)
        self.real.when(command)
        self.told.append(command)
        assert self.real.when(command) == []

    @rule(number=st.integers(0, 50))
    def hears_again(self, number: int) -> None:
        """What was told before, late."""
        if self.told:
            assert self.real.when(self.told[number % len(self.told)]) == []

    @rule(plan=st.sampled_from(list(PLANS)), later=st.booleans())
    def wishes(self, plan: str, later: bool) -> None:
        """Its owner wants another plan, or the end; more than there is is refused."""
        naive = self.naive
        command = ChangeSubscription(plan=plan, terms=terms(PLANS[plan]), at_period_end=later)
        expected = None
        if naive.plan == "free" or naive.status == "canceled":
            expected = "no_subscription"
        elif not naive.renews:
            expected = "billed_elsewhere"
        elif PLANS[plan] > naive.credits:
            expected = "upgrade_not_paid"
        assert self._ask(command) == expected
        if expected is None:
            grace_days = naive.grace_days if plan in ("free", naive.plan) else terms().grace_days
            naive.wishes(plan, PLANS[plan], grace_days, later=later)
            naive.wait(naive.at)
            assert self._ask(command) in (None, "no_subscription"), "again: it is so already"

    def _ask(self, command: ChangeSubscription) -> str | None:
        try:
            self.real.when(command)
        except DomainError as refusal:
            return refusal.code
        return None

    @rule(step=STEPS)
    def waits(self, step: Instant) -> None:
        """Time passes."""
        at = self.real.at + step
        self.real.pass_time(at)
        self.naive.wait(at)

    @invariant()
    def agrees(self) -> None:
        """Plan, status, period, grace, and each grant."""
        real, naive = self.real.state.subscription, self.naive
        assert (real.plan, real.status) == (naive.plan, naive.status)
        assert (real.period_start, real.period_end, real.grace_until) == (naive.start, naive.end, naive.grace_until)
        assert [(each.amount, each.expires_at) for each in self._grants()] == naive.granted

    @invariant()
    def grants_once(self) -> None:
        """No grant twice, no period more than its plan, and no time more than the dearest plan has for it."""
        grants = self._grants()
        assert len({each.grant_id for each in grants}) == len(grants)
        most = max(PLANS.values())
        assert sum(each.amount for each in grants) <= most * (2 + (self.real.at + 80 * DAY - BEGIN) / (28 * DAY))
        last = {each.grant_id.split("_")[1]: int(each.grant_id.split("_")[2]) for each in grants}
        assert all(amount <= most for amount in last.values())

    def _grants(self) -> list[CreditsGranted]:
        return of_type(self.real.events, CreditsGranted)

    @invariant()
    def wakes_exactly(self) -> None:
        """`next_due` lies in the future, and nothing is due before it."""
        wake_at = AGGREGATE.next_due(self.real.state)
        if wake_at is not None:
            assert wake_at > self.real.at
            assert not AGGREGATE.due(self.real.state, wake_at - 1)
            assert AGGREGATE.due(self.real.state, wake_at)

    def teardown(self) -> None:
        """Replay is the live state."""
        assert self.real.replayed() == self.real.state == self.real.snapshot()


TestSubscriptions = Subscriptions.TestCase
TestSubscriptions.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)

FACT = attrgetter("occurred_at", "reference")
PAID = st.sampled_from(["trialing", "active", "canceled"])


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        told(PAID, periods=True), min_size=1, max_size=3, unique_by=lambda each: (each.occurred_at, each.reference)
    ),
    st.lists(STEPS, min_size=6, max_size=6),
)
def test_every_order_ends_in_the_same_state_whatever_time_does(
    facts: list[ConfirmSubscription], steps: list[Instant]
) -> None:
    """News come late, early, and again, and periods end in between: what holds in the end is the same."""
    ends = []
    for order in permutations(facts):
        scenario = account()
        scenario.at = BEGIN
        for command, step in zip((*order, *order), steps, strict=False):
            scenario.when(command)
            scenario.pass_time(scenario.at + step)
        scenario.pass_time(BEGIN + 700 * DAY)
        ends.append(structs.replace(scenario.state.subscription, period_credits=None))
    assert all(end == ends[0] for end in ends)


@given(st.integers(0, moment("2100-01-01")), st.integers(1, 31))
def test_the_naive_month_ends_next_month(start: Instant, day: int) -> None:
    """The stepping ends."""
    assert 0 < a_month_after(start, day) - start < 63 * DAY
