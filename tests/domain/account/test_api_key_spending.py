"""Credit limits of API keys: what a key may hold is what its limit leaves, counted anew each time by a naive model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.account.account import Account
from domain.account.api_key_limits import CreditLimit, CreditPeriod, KeyLimits
from domain.account.api_key_spending import period_end
from domain.account.api_keys import RevokeApiKey, UpdateApiKey
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.errors import DomainError
from domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from domain.message import Command
from tests.domain.account.asking import account, account_with, add, create_key, place, progress, release, settle
from tests.domain.scenario import T0, Scenario, of_type

PLENTY = 10**9
PERIODS: st.SearchStrategy[CreditPeriod] = st.sampled_from(["total", "day", "month"])


def limited(amount: int, period: CreditPeriod = "total") -> Scenario[Account]:
    """An account with plenty of credits and a key, `key_1`, that may spend little."""
    scenario = account_with(PLENTY)
    scenario.when(create_key("key_1", limits=KeyLimits(credit_limit=amount, credit_period=period)))
    return scenario


def test_open_holds_count_against_the_limit() -> None:
    """Fifty at once cannot together exceed it: each is decided on what all before it have left."""
    scenario = limited(100)
    for number in range(50):
        if number < 10:
            scenario.when(place(f"h{number}", 10))
        else:
            assert scenario.refused(place(f"h{number}", 10)).code == "key_credit_limit_exceeded"
    scenario.when(settle("h0", 4))
    assert scenario.refused(place("again", 10)).detail["available"] == 6
    scenario.when(release("h1"))
    scenario.when(place("again", 10))


def test_a_refusal_says_what_is_left_and_when_it_begins_anew() -> None:
    """In the words of the client."""
    day = limited(5, "day").refused(place("h", 6))
    assert (day.kind, day.curable, day.code) == ("payment_required", True, "key_credit_limit_exceeded")
    midnight = datetime.fromtimestamp((T0 - T0 % DAY + DAY) / SECOND, UTC).isoformat().replace("+00:00", "Z")
    assert day.detail == {
        "required": 6,
        "available": 5,
        "credit_limit": 5,
        "period": "day",
        "resets_at": midnight,
    }
    assert limited(5).refused(place("h", 6)).detail["resets_at"] is None


def test_a_hold_takes_what_is_left() -> None:
    """As with credits: less than was asked for, if it is enough, so that an answer is cut to it."""
    scenario = limited(5)
    assert of_type(scenario.when(place("h", 9, amount_min=3)), HoldPlaced)[0].amount == 5


def test_a_settlement_exceeds_once_and_then_the_key_stops() -> None:
    """What was delivered is charged; nothing more is held."""
    scenario = limited(10)
    scenario.when(place("h", 10))
    assert of_type(scenario.when(settle("h", 25)), HoldClosed)[0].charged == 25
    for amount_min in (0, 1):
        refused = scenario.refused(place("more", 1, amount_min=amount_min))
        assert (refused.code, refused.detail["available"]) == ("key_credit_limit_exceeded", 0)
    assert of_type(scenario.when(place("free", 0)), HoldPlaced)[0].amount == 0


def test_others_of_the_account_are_not_bound() -> None:
    """Neither another key nor a login token."""
    scenario = limited(0)
    scenario.when(create_key("key_2"))
    assert scenario.refused(place("h", 1)).code == "key_credit_limit_exceeded"
    scenario.when(place("h2", 5, key_id="key_2"))
    scenario.when(place("h3", 5, key_id=None))


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_period_begins_anew(period: CreditPeriod) -> None:
    """What is still held then counts in it; what was spent before does not."""
    scenario = limited(10, period)
    scenario.when(place("spent", 4))
    scenario.when(settle("spent", 4))
    end = period_end(period, T0)
    assert end is not None
    scenario.when(place("held", 6, expires_at=end + HOUR), at=end - HOUR)
    assert scenario.refused(place("h", 1, expires_at=end + HOUR), at=end - 1).code == "key_credit_limit_exceeded"
    assert scenario.refused(place("h", 5, expires_at=end + HOUR), at=end).detail["available"] == 4
    scenario.when(place("h", 4, expires_at=end + HOUR))


@pytest.mark.parametrize("period", ["day", "month"])
def test_the_first_instant_is_of_the_new_period(period: CreditPeriod) -> None:
    """A hold that is closed at midnight counts in the period that begins."""
    scenario = limited(10, period)
    end = period_end(period, T0)
    assert end is not None
    for name, at in (("before", end - 1), ("at", end)):
        scenario.when(place(name, 4, expires_at=at + HOUR), at=at)
        scenario.when(settle(name, 4))
    assert scenario.refused(place("h", 7, expires_at=end + HOUR)).detail["available"] == 6


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_late_correction_counts_where_the_hold_was_closed(period: CreditPeriod) -> None:
    """In the period that is over it changes nothing of this one; of all it is counted."""
    scenario = limited(20, period)
    end = period_end(period, T0)
    assert end is not None
    scenario.when(place("late", 10, expires_at=end - HOUR), at=end - 2 * HOUR)
    scenario.when(progress("late", 3))
    scenario.pass_time(end - HOUR)  # it expires, and is charged at its progress
    scenario.when(place("now", 5, expires_at=end + HOUR), at=end)
    scenario.when(settle("now", 5))
    assert of_type(scenario.when(settle("late", 9)), HoldCorrected)[0].difference == 6
    assert scenario.refused(place("h", 16, expires_at=end + HOUR)).detail["available"] == 15
    assert scenario.state.api_key_spending.keys["key_1"].total == 14


def test_a_limit_that_is_set_later_knows_what_was_spent() -> None:
    """In its period, whatever the limit was before."""
    scenario = account_with(PLENTY)
    scenario.when(create_key("key_1"))
    for number, at in enumerate((T0, T0 + DAY)):
        scenario.when(place(f"h{number}", 5, expires_at=at + MINUTE), at=at)
        scenario.when(settle(f"h{number}", 5))
    for period, left in (("total", 10), ("day", 15)):
        limit = CreditLimit(amount=20, period=period)  # type: ignore[arg-type]  # of the literals above
        scenario.when(UpdateApiKey(key_id="key_1", credit_limit=limit))
        refused = scenario.refused(place("more", 16, expires_at=scenario.at + MINUTE))
        assert refused.detail["available"] == left


def test_an_ended_key_holds_nothing() -> None:
    """Revoked or expired: also where an API process has not heard of it yet."""
    scenario = account_with(PLENTY)
    scenario.when(create_key("key_1", expires_at=T0 + SECOND))
    scenario.when(create_key("key_2"))
    scenario.when(place("open", 5, key_id="key_2"))
    scenario.when(RevokeApiKey(key_id="key_2"))
    assert scenario.refused(place("h", 1, key_id="key_2")).code == "invalid_api_key"
    assert scenario.refused(place("h", 1), at=T0 + SECOND).code == "invalid_api_key"
    scenario.when(settle("open", 5))
    assert "key_2" not in scenario.state.api_key_spending.keys
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-01-31T23:59:59+00:00", "2026-02-01"),
        ("2028-02-29T00:00:00+00:00", "2028-03-01"),
        ("2026-12-01T00:00:00+00:00", "2027-01-01"),
    ],
)
def test_months_are_those_of_the_calendar(at: str, end: str) -> None:
    """In UTC."""

    def instant(text: str) -> Instant:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND

    assert period_end("month", instant(at)) == instant(end)


@dataclass
class Reserve:
    """A hold of the key; `cost` and `closed_at` once it is closed."""

    amount: int
    progress: int = 0
    cost: int | None = None
    closed_at: Instant = 0


class Keys(RuleBasedStateMachine):
    """What the key may still hold, against a model that keeps every hold and adds them all up each time."""

    def __init__(self) -> None:
        super().__init__()
        self.real = account_with(PLENTY)
        self.reserves: dict[str, Reserve] = {}
        self.limit, self.period = 0, "total"

    @initialize(limit=st.integers(0, 60), period=PERIODS)
    def begin(self, limit: int, period: CreditPeriod) -> None:
        """The key, with its first limit."""
        self.limit, self.period = limit, period
        self.real.when(create_key("key_1", limits=KeyLimits(credit_limit=limit, credit_period=period)))

    def left(self) -> int:
        """Counted from nothing."""
        held = sum(each.amount for each in self.reserves.values() if each.cost is None)
        spent = sum(each.cost for each in self.reserves.values() if each.cost is not None and self._counts(each))
        return max(self.limit - held - spent, 0)

    def _counts(self, reserve: Reserve) -> bool:
        closed, now = (datetime.fromtimestamp(at / SECOND, UTC) for at in (reserve.closed_at, self.real.at))
        if self.period == "day":
            return closed.date() == now.date()
        return self.period == "total" or (closed.year, closed.month) == (now.year, now.month)

    def _do(self, command: Command) -> str | None:
        before = len(self.real.events)
        try:
            self.real.when(command)
        except DomainError as refusal:
            return refusal.code
        finally:
            for event in self.real.events[before:]:
                self._note(event)
        return None

    def _note(self, event: Any) -> None:
        if isinstance(event, HoldClosed):
            reserve = self.reserves[event.hold_id]
            reserve.cost, reserve.closed_at = event.cost, event.closed_at
        elif isinstance(event, HoldCorrected):
            reserve = self.reserves[event.hold_id]
            assert reserve.cost is not None
            reserve.cost += event.difference

    @rule(amount=st.integers(1, 40), least=st.integers(0, 40), lasts=st.sampled_from([SECOND, HOUR, DAY]))
    def places(self, amount: int, least: int, lasts: Instant) -> None:
        """Granted what is left, if that is enough, and refused otherwise."""
        self._pass(0)
        name, least, left = f"h{len(self.reserves)}", min(least, amount), self.left()
        code = self._do(place(name, amount, amount_min=least, expires_at=self.real.at + lasts))
        if left < max(least, 1):
            assert code == "key_credit_limit_exceeded"
        else:
            assert code is None
            self.reserves[name] = Reserve(amount=min(amount, left))
            assert self.real.state.credits.holds[name].amount == min(amount, left)

    @rule(which=st.integers(0, 4), tokens=st.integers(0, 50), how=st.sampled_from(["settle", "release", "report"]))
    def goes_on(self, which: int, tokens: int, how: str) -> None:
        """One of the latest holds makes progress or ends, in time or late."""
        names = list(self.reserves)[-5:]
        if names:
            name = names[which % len(names)]
            self._do({"settle": settle(name, tokens), "report": progress(name, tokens)}.get(how, release(name)))

    @rule(limit=st.integers(0, 60), period=PERIODS)
    def changes(self, limit: int, period: CreditPeriod) -> None:
        """Another limit, of another period."""
        self.limit, self.period = limit, period
        self._do(UpdateApiKey(key_id="key_1", credit_limit=CreditLimit(amount=limit, period=period)))

    @rule(step=st.sampled_from([1, MINUTE, 7 * HOUR, DAY, 9 * DAY, 31 * DAY]))
    def waits(self, step: Instant) -> None:
        """Time passes, holds expire, days and months begin."""
        self._pass(step)

    def _pass(self, step: Instant) -> None:
        for event in self.real.pass_time(self.real.at + step):
            self._note(event)

    @rule()
    def adds(self) -> None:
        """Something else happens."""
        self._do(add(f"g{len(self.real.events)}", 1))

    @invariant()
    def agrees(self) -> None:
        """What is left is what the model counts."""
        state = self.real.state
        key = state.api_keys.active.get("key_1")
        if key is not None:
            assert state.api_key_spending.left("key_1", key.limits, self.real.at) == self.left()

    def teardown(self) -> None:
        """Replay is the live state."""
        assert self.real.replayed() == self.real.state == self.real.snapshot()


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_an_account_without_keys_is_not_touched() -> None:
    """Nothing is counted where there is no key."""
    scenario = account()
    scenario.when(add("g", 10))
    scenario.when(place("h", 5, key_id=None))
    assert scenario.state.api_key_spending.keys == {}
