"""The account against the naive one, over histories that hypothesis makes up (I6, I7)."""

import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import json, structs

from domain.account.account import AGGREGATE, Account
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import AddCredits, CreditsGranted, DebtRepaid, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.payment import DisputeStatus
from domain.account.payments import ConfirmPayment, DisputePayment, RefundPayment
from domain.account.plan_terms import PlanTerms
from domain.account.quota_windows import Asked
from domain.account.subscription_change import ChangeSubscription
from domain.account.usage import Price
from domain.errors import DomainError
from domain.instant import DAY, MINUTE, SECOND, Instant
from domain.message import Command
from tests.domain.account.asking import ONE_EACH, account, add, place, progress, release, settle
from tests.domain.account.naive import Naive
from tests.domain.account.naive_plan import Offer
from tests.domain.account.subscribing import news, terms
from tests.domain.scenario import T0, Scenario

TOKENS = st.one_of(st.integers(0, 12), st.just(10**9))
AMOUNTS = st.one_of(st.integers(-1, 30), st.sampled_from([1, 10**15]))
STEPS: st.SearchStrategy[Instant] = st.sampled_from([0, 1, SECOND, MINUTE, 16 * MINUTE, 8 * DAY, 40 * DAY])
NAMES = st.integers(0, 5)
PAYMENTS = st.sampled_from(["p0", "p1"])
WHEN = st.integers(0, 3)
PRICES = {
    1: ONE_EACH,
    2: Price(input=2_000_000, cached_input=2_000_000, output=2_000_000, version="v2"),
}
"""Of a token in micro-credits: what was held at one price is settled at it, whatever others are held at."""
OFFERS = st.builds(Offer, st.integers(0, 40), st.booleans())
SEATS = st.sampled_from([None, None, 1, 2, 3])
EXAMPLES = int(os.environ.get("FORMSTATE_MONEY_EXAMPLES", "400"))
"""Histories of up to 60 steps: some twenty thousand steps in a normal run, more where somebody asks for them."""
STATUSES: tuple[DisputeStatus, ...] = ("open", "lost", "won")
pytestmark = pytest.mark.slow


class Accounts(RuleBasedStateMachine):
    """Two accounts that must never differ."""

    def __init__(self) -> None:
        super().__init__()
        self.real: Scenario[Account] = account()
        self.naive = Naive(at=T0)
        self.count = 0
        self.seen = 0
        self.moved = 0
        """By all events that were seen."""

    @initialize(amount=st.integers(1, 60))
    def begin(self, amount: int) -> None:
        """Most histories begin with credits."""
        self._both(add("g0", amount), self.naive.add("g0", amount, 100, None))

    def _both(self, command: Command, expected: str | None) -> None:
        """The command meets the same refusal; applied again, it changes nothing more.

        A grant that is used up is not remembered: that its reference counts once is the command id's work, for ever.
        """
        self._once(command, expected)
        if isinstance(command, AddCredits) and command.grant_id not in self.real.state.credits.grants:
            return
        before = json.encode(self.real.state)
        again = self._ask(command)
        assert again is None or expected is None or again == expected
        assert json.encode(self.real.state) == before or expected is not None

    def _once(self, command: Command, expected: str | None) -> None:
        self.naive.wait(self.real.at)  # as the worker does: nothing is ever left overdue
        assert self._ask(command) == expected

    def _ask(self, command: Command) -> str | None:
        try:
            self.real.when(command)
        except DomainError as refusal:
            return refusal.code
        return None

    @rule(amount=AMOUNTS, priority=st.integers(0, 2), lasts=st.one_of(st.none(), STEPS))
    def adds(self, amount: int, priority: int, lasts: int | None) -> None:
        """Credits come in."""
        self.count += 1
        name, expires_at = f"g{self.count}", None if lasts is None else self.real.at + lasts
        command = add(name, amount, priority=priority, expires_at=expires_at)
        self._both(command, self.naive.add(name, amount, priority, expires_at))

    @rule(
        amount=st.integers(0, 40),
        least=st.integers(0, 40),
        lasts=st.sampled_from([1, SECOND, MINUTE, DAY]),
        messages=st.sampled_from([None, None, 2, 3]),
        each=st.sampled_from([1, 2]),
    )
    def places(self, amount: int, least: int, lasts: int, messages: int | None, each: int) -> None:
        """Credits are held, for a message of a quota or not, at the price of the moment."""
        self.count += 1
        name, least, expires_at = f"h{self.count}", min(least, amount), self.real.at + lasts
        command = place(name, amount, amount_min=least, expires_at=expires_at, price=PRICES[each])
        if messages is not None:
            midnight = self.real.at - self.real.at % DAY
            window = Asked(limit=messages, starts_at=midnight, ends_at=midnight + DAY, next_ends_at=midnight + 2 * DAY)
            command = structs.replace(command, messages=window)
        self._both(command, self.naive.place(name, amount, least, expires_at, messages, each))

    @rule(name=NAMES, tokens=TOKENS)
    def reports(self, name: int, tokens: int) -> None:
        """A hold makes progress."""
        hold_id = self._recent(name)
        self._both(progress(hold_id, tokens), self.naive.report(hold_id, tokens))

    @rule(name=NAMES, tokens=TOKENS)
    def settles(self, name: int, tokens: int) -> None:
        """A hold is charged, in time or late."""
        hold_id = self._recent(name)
        if not self._same_cost_of_another_source(hold_id, tokens):
            self._both(settle(hold_id, tokens), self.naive.settle(hold_id, tokens))

    @rule(name=NAMES)
    def releases(self, name: int) -> None:
        """A hold is given back, in time or late."""
        hold_id = self._recent(name)
        if not self._same_cost_of_another_source(hold_id, 0):
            self._both(release(hold_id), self.naive.release(hold_id))

    def _same_cost_of_another_source(self, hold_id: str, tokens: int) -> bool:
        """Then only the record of the usage is corrected, not the money; the naive account knows no records."""
        hold = self.naive.reserves.get(hold_id)
        return hold is not None and hold.how is not None and hold.cost == tokens * hold.price

    @rule(step=STEPS)
    def waits(self, step: int) -> None:
        """Time passes, and with it what is due."""
        at = self.real.at + step
        self.real.pass_time(at)
        self.naive.wait(at)

    @rule(
        name=PAYMENTS,
        credits=st.one_of(st.integers(1, 60), st.just(10**15)),
        paid=st.integers(0, 9),
        priority=st.integers(0, 2),
        lasts=st.one_of(st.none(), STEPS),
        granted=st.booleans(),
    )
    def buys(self, name: str, credits: int, paid: int, priority: int, lasts: int | None, granted: bool) -> None:
        """Money comes in, perhaps behind the news that it has left again."""
        expires_at = None if lasts is None else self.real.at + lasts
        command = ConfirmPayment(
            payment_id=name,
            grant_id=f"grant_{name}",
            credits=credits,
            paid_cents=paid,
            occurred_at=T0,
            priority=priority,
            expires_at=expires_at,
            granted=granted,
        )
        self.naive.buy(name, credits, paid, priority, expires_at, granted)
        self._both(command, None)

    @rule(name=PAYMENTS, cents=st.integers(0, 12), when=WHEN)
    def refunds(self, name: str, cents: int, when: int) -> None:
        """Money goes back, or that has failed; news come late and in any order."""
        self.naive.refund(name, cents, T0 + when)
        self._both(RefundPayment(payment_id=name, refunded_cents=cents, occurred_at=T0 + when), None)

    @rule(name=PAYMENTS, dispute=st.integers(0, 1), status=st.integers(0, 2), cents=st.integers(0, 12), when=WHEN)
    def disputes(self, name: str, dispute: int, status: int, cents: int, when: int) -> None:
        """Money is disputed, for a while or for good."""
        self.naive.dispute(name, f"d{dispute}", status, cents, T0 + when)
        command = DisputePayment(
            payment_id=name,
            dispute_id=f"d{dispute}",
            status=STATUSES[status],
            amount_cents=cents,
            occurred_at=T0 + when,
        )
        self._both(command, None)

    @rule(
        offer=OFFERS,
        seats=SEATS,
        renews=st.booleans(),
        status=st.sampled_from(["active", "active", "active", "trialing", "past_due", "canceled"]),
        trial_days=st.sampled_from([0, 3, 30]),
    )
    def subscribes(self, offer: Offer, seats: int | None, renews: bool, status: Any, trial_days: int) -> None:
        """A plan is tried or paid for, or is not any more."""
        self.count += 1
        self.naive.subscribe(offer, seats, renews, status, trial_days)
        command = news(
            f"r{self.count}",
            self.real.at + self.count,
            plan=_name(offer),
            status=status,
            terms=_terms(offer, trial_days=trial_days),
            renews_by_itself=renews,
            seats=seats,
        )
        self._both(command, None)

    @rule(wanted=st.one_of(st.none(), OFFERS), seats=SEATS, now=st.booleans())
    def wants_less(self, wanted: Offer | None, seats: int | None, now: bool) -> None:
        """Its owner takes a smaller plan, or fewer seats."""
        if wanted is None and seats is None:
            return
        expected = self.naive.plan.owner_wants(wanted, seats, now)
        changes: dict[str, Any] = {} if wanted is None else {"plan": _name(wanted), "terms": _terms(wanted)}
        self._both(ChangeSubscription(at_period_end=not now, seats=seats, **changes), expected)

    @rule(now=st.booleans())
    def cancels(self, now: bool) -> None:
        """Its owner has enough."""
        expected = self.naive.plan.owner_cancels(now)
        command = ChangeSubscription(at_period_end=not now, cancel=True)
        if expected is None and self.naive.plan.status == "canceled":
            self._once(command, None)
        else:
            self._both(command, expected)

    def _recent(self, name: int) -> str:
        names = list(self.naive.reserves)[-6:]
        return names[name % len(names)] if names else "nobody"

    @invariant()
    def agrees(self) -> None:
        """Balance, held, debt, and what each grant has left."""
        ledger, naive = self.real.state.credits, self.naive
        assert (ledger.balance, ledger.held, ledger.debt) == (naive.balance(), naive.held(), naive.debt)
        left = {name: pot.left for name, pot in naive.pots.items() if pot.left}
        assert {name: grant.remaining for name, grant in ledger.grants.items()} == left

    @invariant()
    def agrees_on_the_plan(self) -> None:
        """Status, period, what was granted for it, and how many messages the day has had."""
        real, plan = self.real.state.subscription, self.naive.plan
        if plan.status != "none":
            counted = real.period_credits
            assert (real.seats, real.status, real.period_start, real.period_end, real.grace_until) == (
                plan.seats,
                plan.status,
                plan.start,
                plan.end,
                plan.grace_until,
            )
            assert (counted and (counted.since, counted.until, counted.amount)) == plan.counted
        messages = self.real.state.quotas.messages
        if self.real.at < messages.ends_at:
            assert messages.used == self.naive.messages_today()

    @invariant()
    def adds_up(self) -> None:
        """I6: the movements add up to the balance; nothing is below zero."""
        ledger = self.real.state.credits
        self.moved += sum(_moved(event) for event in self.real.events[self.seen :])
        self.seen = len(self.real.events)
        assert sum(self.naive.moved) == self.moved == ledger.balance
        assert ledger.available == ledger.balance - ledger.held >= 0
        assert min(ledger.balance, ledger.held, ledger.debt) >= 0
        assert ledger.debt == 0 or ledger.available == 0

    @invariant()
    def wakes_exactly(self) -> None:
        """`next_due` is the first instant at which anything is due, and lies in the future: a sweep never loops."""
        wake_at = AGGREGATE.next_due(self.real.state)
        assert wake_at == next(iter(self.naive.overdue()), None)
        if wake_at is not None:
            assert wake_at > self.real.at
            assert not AGGREGATE.due(self.real.state, wake_at - 1)
            assert AGGREGATE.due(self.real.state, wake_at)

    def teardown(self) -> None:
        """Replay is the live state; each hold has ended at most once, and was corrected at most once (I7)."""
        assert self.real.replayed() == self.real.state == self.real.snapshot()
        assert list(self.real.replayed().credits.grants) == list(self.real.state.credits.grants)
        ends: dict[str, list[str]] = {}
        for event in self.real.events:
            if isinstance(event, HoldPlaced | HoldClosed | HoldCorrected):
                ends.setdefault(event.hold_id, []).append(type(event).__name__)
        order = ["HoldPlaced", "HoldClosed", "HoldCorrected"]
        assert all(events == order[: len(events)] for events in ends.values())


def _name(offer: Offer) -> str:
    return f"plan {offer.monthly}{' by seat' if offer.by_seat else ''}"


def _terms(offer: Offer, **changed: Any) -> PlanTerms:
    return terms(offer.monthly, per_seat=offer.by_seat, **changed)


def _moved(event: Any) -> int:
    """By how much an event says that the balance has moved."""
    match event:
        case CreditsGranted():
            return int(event.amount - event.repaid)
        case GrantExpired() | DebtRepaid():
            return -int(event.amount)
        case HoldClosed() | CreditsTakenBack():
            return -int(event.charged)
        case CreditsGivenBack():
            return int(event.amount - event.repaid)
        case HoldCorrected():
            return int(max(-event.difference, 0) - event.repaid - event.charged)
        case _:
            return 0


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
