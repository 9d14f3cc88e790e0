"""The account on one page: no sums kept, no order kept, no wake time kept; everything is counted again each time."""

from dataclasses import dataclass, field, replace
from datetime import date

from domain.instant import MINUTE, Instant
from tests.domain.account.naive_plan import NaivePlan, Offer, day


@dataclass
class Pot:
    """A grant."""

    priority: int
    granted_at: Instant
    expires_at: Instant | None
    left: int


@dataclass
class Reserve:
    """A hold; `cost` and `closed_at` once it is closed."""

    amount: int
    expires_at: Instant
    price: int = 1
    """Of a token, whatever a token costs later."""
    progress: int | None = None
    """What it has come to."""
    day: date | None = None
    """In which it counts as a message, if it does."""
    delivered: bool = True
    how: str | None = None
    cost: int = 0
    closed_at: Instant = 0


@dataclass
class Purchase:
    """A payment: what it bought, if that is known yet, and what is known of the money's way back."""

    credits: int = 0
    paid: int = 0
    pot: Pot | None = None
    refunds: list[tuple[Instant, int]] = field(default_factory=list)
    disputes: dict[str, list[tuple[Instant, int, int]]] = field(default_factory=dict)
    """(when, 0 open 1 lost 2 won, cents) of all news."""
    taken: int = 0

    def gone(self) -> int:
        """How many of the credits should be away: their part of the money, by the newest news, rounded down."""
        cents = max(self.refunds, default=(0, 0))[1]
        cents += sum(max(news)[2] for news in self.disputes.values() if max(news)[1] != WON)
        return self.credits * min(cents, self.paid) // self.paid if self.pot and self.paid else 0


WON = 2


@dataclass
class Naive:
    """One token costs one micro-credit. Refusals are codes, everything else is `None`."""

    at: Instant
    pots: dict[str, Pot] = field(default_factory=dict)
    reserves: dict[str, Reserve] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)
    plan: NaivePlan = field(default_factory=NaivePlan)
    purchases: dict[str, Purchase] = field(default_factory=dict)
    debt: int = 0
    moved: list[int] = field(default_factory=list)
    """Every movement of the balance."""

    def balance(self) -> int:
        """What all grants have left."""
        return sum(pot.left for pot in self.pots.values())

    def held(self) -> int:
        """What open holds reserve."""
        return sum(each.amount for each in self.reserves.values() if each.how is None)

    def available(self) -> int:
        """What new holds can take."""
        return self.balance() - self.held()

    def overdue(self) -> list[Instant]:
        """When something is due, now or later."""
        times = [each.expires_at for each in self.reserves.values() if each.how is None]
        if self.available() > 0:
            times += [pot.expires_at for pot in self.pots.values() if pot.expires_at is not None and pot.left]
        woken = self.plan.wakes()
        return sorted(times if woken is None else [*times, woken])

    def wait(self, at: Instant) -> None:
        """What time alone causes: holds in order of their end, and then what grants have left and nobody reserves."""
        self.at = at
        for _, name in sorted((each.expires_at, name) for name, each in self.reserves.items() if each.how is None):
            if self.reserves[name].expires_at <= at:
                progress = self.reserves[name].progress
                self._close(name, "expired", progress or 0, delivered=progress is not None)
        self._run_out()
        while (woken := self.plan.wakes()) is not None and woken <= at:
            self._plan_grants(self.plan.period_over())
            self._run_out()

    def _run_out(self) -> None:
        for pot in self._in_burn_order():
            if pot.expires_at is not None and pot.expires_at <= self.at:
                gone = min(pot.left, self.available())
                pot.left -= gone
                self.moved.append(-gone)

    def add(self, name: str, amount: int, priority: int, expires_at: Instant | None) -> str | None:
        """Grants, repaying debt first."""
        if amount <= 0:
            return "invalid_amount"
        if expires_at is not None and expires_at <= self.at:
            return "invalid_expiry"
        self._give(name, amount, priority, expires_at)
        return None

    def subscribe(self, offer: Offer, seats: int | None, renews: bool, status: str, trial_days: int) -> None:
        """News of the subscription, and the credits of its period."""
        self._plan_grants(self.plan.told(self.at, offer, seats, renews, status, trial_days))

    def _plan_grants(self, amount: int) -> None:
        if amount:
            assert self.plan.counted is not None
            since, _, total = self.plan.counted
            self._give(f"plan_{since}_{total}", amount, 50, self.plan.end)

    def messages_today(self) -> int:
        """Those that are under way or have delivered something."""
        today = [each for each in self.reserves.values() if each.day == day(self.at)]
        return sum(each.how is None or each.delivered for each in today)

    def place(
        self, name: str, amount: int, least: int, expires_at: Instant, messages: int | None, price: int
    ) -> str | None:
        """Holds what is there, if it is enough; with `messages` as one of so many a day."""
        if amount > 0 and self.debt > 0:
            return "debt_outstanding"
        if self.available() < least:
            return "insufficient_credits"
        if messages is not None and self.messages_today() >= messages:
            return "messages_quota_exceeded"
        today = None if messages is None else day(self.at)
        amount = min(amount, self.available())
        self.reserves[name] = Reserve(amount=amount, expires_at=expires_at, price=price, day=today)
        return None

    def report(self, name: str, tokens: int) -> str | None:
        """Remembers progress."""
        if self._forgotten(name):
            return "hold_not_found"
        if self.reserves[name].how is None:
            self.reserves[name].progress = tokens * self.reserves[name].price
        return None

    def settle(self, name: str, tokens: int) -> str | None:
        """Charges, or corrects an expiry."""
        if self._forgotten(name):
            return "hold_not_found"
        hold = self.reserves[name]
        cost = tokens * hold.price
        if hold.how is None:
            self._close(name, "settled", cost)
        elif hold.how == "expired":
            self._correct(name, cost, delivered=True)
        elif (hold.how, hold.cost) != ("settled", cost):
            return "hold_closed"
        return None

    def release(self, name: str) -> str | None:
        """Gives back, or corrects whatever end there was."""
        if self._forgotten(name):
            return "hold_not_found"
        if self.reserves[name].how is None:
            self._close(name, "released", 0, delivered=False)
        elif self.reserves[name].how != "released":
            self._correct(name, 0, delivered=False)
        return None

    def buy(self, name: str, credits: int, paid: int, priority: int, expires_at: Instant | None, granted: bool) -> None:
        """A payment grants what it bought, once, whatever was heard of it before."""
        purchase = self.purchases.setdefault(name, Purchase())
        if purchase.pot is not None:
            return
        purchase.credits, purchase.paid = credits, paid
        purchase.pot = Pot(priority=priority, granted_at=self.at, expires_at=expires_at, left=0)
        if granted:
            self._put_back(f"grant_{name}", purchase.pot, credits)
        self._square(name)

    def refund(self, name: str, cents: int, occurred_at: Instant) -> None:
        """So much was sent back so far."""
        purchase = self.purchases.setdefault(name, Purchase())
        purchase.refunds.append((occurred_at, cents))
        self._square(name)

    def dispute(self, name: str, dispute: str, status: int, cents: int, occurred_at: Instant) -> None:
        """A dispute stands like this."""
        purchase = self.purchases.setdefault(name, Purchase())
        purchase.disputes.setdefault(dispute, []).append((occurred_at, status, cents))
        self._square(name)

    def _square(self, name: str) -> None:
        """Takes back what should be away, or gives back what should not."""
        purchase = self.purchases[name]
        more = purchase.gone() - purchase.taken
        if purchase.pot is None or more == 0:
            return
        purchase.taken += more
        if more > 0:
            self._charge(more, first=f"grant_{name}")
        else:
            self._put_back(f"grant_{name}", purchase.pot, -more)

    def _put_back(self, name: str, terms: Pot, amount: int) -> None:
        """Into the pot as it was made, after the debt."""
        repaid = min(self.debt, amount)
        self.debt -= repaid
        self.moved.append(amount - repaid)
        self.pots.setdefault(name, replace(terms, left=0)).left += amount - repaid

    def _forgotten(self, name: str) -> bool:
        hold = self.reserves.get(name)
        if hold is None or name in self.corrected:
            return True
        if hold.how is None:
            return False
        kept = 7 * 24 * 60 * MINUTE if hold.how == "expired" else 15 * MINUTE
        return any(other.closed_at - hold.closed_at > kept for other in self.reserves.values() if other.how)

    def _close(self, name: str, how: str, cost: int, *, delivered: bool = True) -> None:
        hold = self.reserves[name]
        hold.delivered = delivered
        hold.how, hold.cost, hold.closed_at = how, cost, self.at
        self._charge(cost)
        debt, self.debt = self.debt, 0
        self._charge(debt)

    def _correct(self, name: str, cost: int, *, delivered: bool) -> None:
        difference = cost - self.reserves[name].cost
        if cost == self.reserves[name].cost:
            return
        self.corrected.add(name)
        self.reserves[name].delivered = delivered
        if difference > 0:
            self._charge(difference)
        else:
            self._give(f"correction_{name}", -difference, 0, None)

    def _charge(self, cost: int, *, first: str = "") -> None:
        paid = min(cost, self.available())
        self.debt += cost - paid
        self.moved.append(-paid)
        own = [self.pots[first]] if first in self.pots else []
        for pot in own + self._in_burn_order():
            taken = min(pot.left, paid)
            pot.left -= taken
            paid -= taken

    def _give(self, name: str, amount: int, priority: int, expires_at: Instant | None) -> None:
        repaid = min(self.debt, amount)
        self.debt -= repaid
        self.moved.append(amount - repaid)
        self.pots[name] = Pot(priority=priority, granted_at=self.at, expires_at=expires_at, left=amount - repaid)

    def _in_burn_order(self) -> list[Pot]:
        forever = 2**62
        order = sorted(
            self.pots.items(),
            key=lambda item: (item[1].priority, item[1].expires_at or forever, item[1].granted_at, item[0]),
        )
        return [pot for _, pot in order]
