"""Slows down guessing: failed logins by (email, address) and by address, in memory that is bounded.

The pair is the key, so that a guesser slows down itself and never locks the owner of an address out elsewhere.
An attempt is counted before its password is looked at, so that a hundred at once are a hundred and not one.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from api.errors import ApiError, declare

REMEMBERED_MAX = 20_000
"""Pairs, and as many addresses; the least recently seen are forgotten first."""
FORGOTTEN_S = 3600.0


class Allowance(Struct, frozen=True, kw_only=True):
    """`free` failures, then a wait of `first_s` that doubles with each further one, up to `longest_s`."""

    free: int
    first_s: float
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """How long after this many failures in a row the next attempt has to wait."""
        if failures < self.free:
            return 0.0
        return min(self.first_s * 2.0 ** min(failures - self.free, 30), self.longest_s)


PAIR = Allowance(free=5, first_s=1.0, longest_s=900.0)
ADDRESS = Allowance(free=50, first_s=1.0, longest_s=300.0)
"""Many people can share an address: it is given more, and waits less."""


class _Failures(Struct):
    count: int
    last: float
    blocked_until: float


declare(
    "too_many_attempts",
    "too_many",
    "There were too many failed attempts.",
    "Wait for the seconds in Retry-After; each further failure doubles them.",
)


class Attempt(Struct, frozen=True, kw_only=True):
    """One login that was let in and counts as failed until it is said otherwise."""

    pair: str
    network: str


class LoginThrottle:
    """`enter` before the password is verified, then `succeeded` or `withdrawn`; a failure needs no call."""

    def __init__(
        self,
        *,
        pair: Allowance = PAIR,
        address: Allowance = ADDRESS,
        clock: Callable[[], float] = monotonic,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._clock = clock
        self._pairs = _Table(pair, remembered_max)
        self._networks = _Table(address, remembered_max)

    def enter(self, email_hash: str, address: str) -> Attempt:
        """Counts an attempt. 429 `too_many_attempts`, and none is counted, while pair or address have to wait."""
        now = self._clock()
        network = network_of(address)
        attempt = Attempt(pair=f"{email_hash} {network}", network=network)
        wait_s = max(self._pairs.wait_s(attempt.pair, now), self._networks.wait_s(network, now))
        if wait_s > 0:
            raise ApiError("too_many_attempts", headers={"Retry-After": str(math.ceil(wait_s))})
        self._pairs.count(attempt.pair, now)
        self._networks.count(network, now)
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Clears the pair. Of the address only this attempt: a guesser's own account does not clean its slate."""
        self._pairs.forget(attempt.pair)
        self._networks.take_back(attempt.network)

    def withdrawn(self, attempt: Attempt) -> None:
        """The password was never looked at, because the pool was full or the store away."""
        self._pairs.take_back(attempt.pair)
        self._networks.take_back(attempt.network)


class _Table:
    def __init__(self, allowance: Allowance, remembered_max: int) -> None:
        self._allowance = allowance
        self._remembered_max = remembered_max
        self._rows: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        row = self._rows.get(key)
        if row is None:
            return 0.0
        if now - row.last >= FORGOTTEN_S:
            del self._rows[key]
            return 0.0
        return row.blocked_until - now

    def count(self, key: str, now: float) -> None:
        row = self._rows.setdefault(key, _Failures(0, now, now))
        row.count += 1
        row.last = now
        row.blocked_until = now + self._allowance.wait_s(row.count)
        self._rows.move_to_end(key)
        if len(self._rows) > self._remembered_max:
            self._rows.popitem(last=False)

    def take_back(self, key: str) -> None:
        row = self._rows.get(key)
        if row is None:
            return
        row.count -= 1
        row.blocked_until = row.last + self._allowance.wait_s(row.count) if row.count else row.last
        if row.count <= 0:
            del self._rows[key]

    def forget(self, key: str) -> None:
        self._rows.pop(key, None)


def network_of(address: str) -> str:
    """The address, or of IPv6 its /64: one household has 2**64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)
    return str(parsed)
