"""The ledger's state and its arithmetic: grants in burn order, holds, what is closed, what is owed.

Owned by the fold of the account: the functions here that change a ledger say so, and only `evolve` calls them.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Literal, TypeAlias

from msgspec import Struct, field

from domain.account.usage import Price, Usage
from domain.instant import DAY, MINUTE, Instant
from domain.money import MicroCredits

Closing: TypeAlias = Literal["settled", "released", "expired"]

CHAT = "chat.completions"
"""The operation of a hold that names no other."""
REMEMBERED: Instant = 15 * MINUTE
"""How long a settled or released hold can still be corrected: as long as an API retries."""
EXPIRED_REMEMBERED: Instant = 7 * DAY
"""How long an expired one can: its API was away, and may come back with what it knows."""
CLOSED_MAX = 10_000
"""Closed holds that are remembered at most, and expired ones as many: a busy account's state stays bounded."""
MANY = 500
FORGOTTEN_EVERY = 64
"""Of more than `MANY` the old ones are looked for each time that so many have come together."""
EXPIRING_SPARE = 64


class Grant(Struct, kw_only=True, gc=False):
    """Credits that came in together."""

    id: str
    source: str
    priority: int
    remaining: MicroCredits
    granted_at: Instant
    expires_at: Instant | None = None

    def burn_order(self) -> tuple[int, bool, Instant, Instant, str]:
        """Total: low priority numbers first, then what expires first (never is last), then the oldest, then by id."""
        return (self.priority, self.expires_at is None, self.expires_at or 0, self.granted_at, self.id)


class HeldFor(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """For whom and what a hold is, beside the key: by this its usage can be told apart."""

    user_id: str | None = None
    """Who asked, where the account is not the user's own."""
    project_id: str | None = None
    operation: str = CHAT
    agent_id: str | None = None


class Hold(Struct, kw_only=True, omit_defaults=True, gc=False):
    """Credits set aside for one billable operation, until exactly one of settle, release or expiry closes it (I7)."""

    id: str
    amount: MicroCredits
    model: str
    price: Price
    placed_at: Instant
    expires_at: Instant
    key_id: str | None = None
    progress: Usage | None = None
    """What the operation had delivered when it last reported; charged if the hold expires."""
    message_day: Instant | None = None
    """Start of the day in which it counts as a message, where those are limited."""
    user_id: str | None = None
    project_id: str | None = None
    operation: str = CHAT
    agent_id: str | None = None


class ClosedHold(Struct, kw_only=True, gc=False):
    """How a hold ended; remembered for a while so that the one late correction can be booked."""

    hold: Hold
    how: Closing
    cost: MicroCredits
    usage: Usage | None
    closed_at: Instant


class Burn(Struct, frozen=True, kw_only=True, gc=False):
    """An amount taken from one grant."""

    grant_id: str
    amount: MicroCredits


class Ledger(Struct, kw_only=True):
    """`balance` is the sum of what remains of all grants, `held` that of all open holds."""

    balance: MicroCredits = 0
    held: MicroCredits = 0
    debt: MicroCredits = 0
    """What was used and could not be covered; outside the balance, repaid first by every grant."""
    grants: dict[str, Grant] = field(default_factory=dict)
    """By id, in burn order; only those with something left."""
    holds: dict[str, Hold] = field(default_factory=dict)
    expiring: list[tuple[Instant, str]] = field(default_factory=list)
    """A heap of the ends of holds and their ids; closed ones are dropped when they come up."""
    closed: dict[str, ClosedHold] = field(default_factory=dict)
    """Settled and released ones by id, oldest first."""
    expired: dict[str, ClosedHold] = field(default_factory=dict)
    """By id, oldest first."""
    wake_at: Instant | None = None
    """When the first hold or grant is due."""

    @property
    def available(self) -> MicroCredits:
        """What new holds can take. Never negative (I6)."""
        return self.balance - self.held

    def ended(self, hold_id: str) -> ClosedHold | None:
        """How a hold ended, while it is remembered and was not corrected."""
        return self.closed.get(hold_id) or self.expired.get(hold_id)


def burn_plan(grants: Iterable[Grant], amount: MicroCredits) -> tuple[Burn, ...]:
    """Which grants, already in burn order, give how much of `amount`. Gives all there is when that is less."""
    burns = []
    for grant in grants:
        if amount <= 0:
            break
        taken = min(grant.remaining, amount)
        burns.append(Burn(grant_id=grant.id, amount=taken))
        amount -= taken
    return tuple(burns)


def put_grant(ledger: Ledger, grant: Grant) -> None:
    """Adds a grant at its place in burn order. Changes `ledger`."""
    if grant.remaining == 0:
        return
    ledger.balance += grant.remaining
    ledger.grants[grant.id] = grant
    if len(ledger.grants) > 1:
        ledger.grants = {each.id: each for each in sorted(ledger.grants.values(), key=Grant.burn_order)}
    reckon_wake(ledger)


def add_to_grant(ledger: Ledger, grant: Grant) -> None:
    """Adds what `grant` has to the grant of its id, or makes it again where that is used up. Changes `ledger`."""
    known = ledger.grants.get(grant.id)
    if known is None:
        put_grant(ledger, grant)
    else:
        known.remaining += grant.remaining
        ledger.balance += grant.remaining
    reckon_wake(ledger)


def burn(ledger: Ledger, burns: Iterable[Burn]) -> None:
    """Takes what a plan says; a grant with nothing left is forgotten. Changes `ledger`."""
    for each in burns:
        grant = ledger.grants[each.grant_id]
        grant.remaining -= each.amount
        ledger.balance -= each.amount
        if grant.remaining == 0:
            del ledger.grants[each.grant_id]


def open_hold(ledger: Ledger, hold: Hold) -> None:
    """Sets the hold's amount aside. Changes `ledger`."""
    ledger.holds[hold.id] = hold
    ledger.held += hold.amount
    heappush(ledger.expiring, (hold.expires_at, hold.id))
    if len(ledger.expiring) > 2 * len(ledger.holds) + EXPIRING_SPARE:
        ledger.expiring = sorted((each.expires_at, each.id) for each in ledger.holds.values())
    reckon_wake(ledger)


def close_hold(ledger: Ledger, closed: ClosedHold) -> None:
    """Ends an open hold and forgets the closed ones that are past correcting. Changes `ledger`."""
    hold = ledger.holds.pop(closed.hold.id)
    ledger.held -= hold.amount
    kept = ledger.expired if closed.how == "expired" else ledger.closed
    kept[hold.id] = closed
    _forget(ledger.closed, closed.closed_at - REMEMBERED)
    _forget(ledger.expired, closed.closed_at - EXPIRED_REMEMBERED)
    reckon_wake(ledger)


def _forget(kept: dict[str, ClosedHold], before: Instant) -> None:
    """Drops the oldest; of many, several at a time: a dict's first entry is found behind all that was removed."""
    if not kept or (len(kept) > MANY and len(kept) % FORGOTTEN_EVERY):
        return
    past: list[str] = []
    for closed in kept.values():
        if closed.closed_at >= before and len(kept) - len(past) <= CLOSED_MAX:
            break
        past.append(closed.hold.id)
    for hold_id in past:
        del kept[hold_id]


def first_to_expire(ledger: Ledger) -> Hold | None:
    """The open hold that runs out first; of equal ones the first by id."""
    return ledger.holds[ledger.expiring[0][1]] if ledger.expiring else None


def reckon_wake(ledger: Ledger) -> None:
    """Sets `wake_at` to the first instant at which something is due. Changes `ledger`.

    A grant that is wholly reserved by holds does not expire before they close, so it wakes nobody until then.
    """
    while ledger.expiring and ledger.expiring[0][1] not in ledger.holds:
        heappop(ledger.expiring)
    expiries = [ledger.expiring[0][0]] if ledger.expiring else []
    if ledger.available > 0:
        expiries += [grant.expires_at for grant in ledger.grants.values() if grant.expires_at is not None]
    ledger.wake_at = min(expiries, default=None)
