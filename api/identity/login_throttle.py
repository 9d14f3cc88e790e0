"""Slows down guessing: failed logins by (email, address) and by address, counted for all API processes at once.

The pair is the key, so that a guesser slows down itself and never locks the owner of an address out elsewhere.
An attempt is counted before its password is looked at, so that a hundred at once are a hundred and not one. While the
store does not answer, each process goes on with what it knows.
"""

import asyncio
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog
from msgspec import Struct

from api.errors import ApiError, declare
from domain.instant import SECOND
from eventstore.attempts import FORGOTTEN, Allowance, Attempts, AttemptStore

REMEMBERED_MAX = 20_000
"""Pairs, and as many addresses; the least recently seen are forgotten first."""
ASK_S = 0.5
"""How long an attempt waits for the store; then this process decides alone."""
AWAY_S = 2.0
"""How long it decides alone before it asks again."""

PAIR = Allowance(free=5, first_s=1, longest_s=900)
ADDRESS = Allowance(free=50, first_s=1, longest_s=300)
"""Many people can share an address: it is given more, and waits less."""

_log = structlog.get_logger()


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
    """`enter` before the password is verified, then `succeeded` or `withdrawn`; a failure needs no call.

    `digest` hides what is counted: addresses are personal, and counts lie in the database.
    """

    def __init__(
        self,
        store: AttemptStore,
        digest: Callable[[str], str],
        *,
        pair: Allowance = PAIR,
        address: Allowance = ADDRESS,
        clock: Callable[[], float] = monotonic,
        remembered_max: int = REMEMBERED_MAX,
        ask_s: float = ASK_S,
    ) -> None:
        self._store = store
        self._digest = digest
        self._clock = clock
        self._ask_s = ask_s
        self._away_until = -math.inf
        self._pairs = _Table(pair, remembered_max)
        self._networks = _Table(address, remembered_max)

    async def enter(self, email_hash: str, address: str) -> Attempt:
        """Counts an attempt. 429 `too_many_attempts`, and none is counted, while pair or address have to wait."""
        network = network_of(address)
        attempt = Attempt(pair=self._digest(f"{email_hash} {network}"), network=self._digest(network))
        wait_s = await self._count(self._pairs, attempt.pair)
        if wait_s <= 0:
            wait_s = await self._count(self._networks, attempt.network)
            if wait_s > 0:
                await self._take_back(self._pairs, attempt.pair)
        if wait_s > 0:
            raise ApiError("too_many_attempts", headers={"Retry-After": str(math.ceil(wait_s))})
        return attempt

    async def succeeded(self, attempt: Attempt) -> None:
        """Clears the pair. Of the address only this attempt: a guesser's own account does not clean its slate."""
        self._pairs.forget(attempt.pair)
        await self._told(lambda: self._store.forget_attempts(attempt.pair))
        await self._take_back(self._networks, attempt.network)

    async def withdrawn(self, attempt: Attempt) -> None:
        """The password was never looked at, because the pool was full or the store away."""
        await self._take_back(self._pairs, attempt.pair)
        await self._take_back(self._networks, attempt.network)

    async def _count(self, table: "_Table", key: str) -> float:
        """Counts it in the store and notes what it says; by what this process knows where the store is away."""
        said: list[Attempts] = []

        async def ask() -> None:
            said.append(await self._store.count_attempt(key, table.allowance))

        if not await self._told(ask):
            return table.count(key, self._clock())
        table.learn(key, said[0], self._clock())
        return said[0].wait / SECOND

    async def _take_back(self, table: "_Table", key: str) -> None:
        table.take_back(key)
        await self._told(lambda: self._store.take_back_attempt(key))

    async def _told(self, ask: Callable[[], Awaitable[None]]) -> bool:
        """Whether the store has answered; one that has not is left alone for a moment."""
        if self._clock() < self._away_until:
            return False
        try:
            async with asyncio.timeout(self._ask_s):
                await ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, guessing is slowed down all the same
            self._away_until = self._clock() + AWAY_S
            _log.warning("attempts_not_shared", error=type(error).__name__)
            return False
        return True


class _Failures(Struct):
    count: int
    last: float
    blocked_until: float


class _Table:
    """What this process knows, in memory that is bounded."""

    def __init__(self, allowance: Allowance, remembered_max: int) -> None:
        self.allowance = allowance
        self._remembered_max = remembered_max
        self._rows: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def count(self, key: str, now: float) -> float:
        """Counts an attempt, unless there are seconds to wait, which it answers."""
        row = self._rows.get(key)
        if row is not None and now - row.last >= FORGOTTEN / SECOND:
            row = None
        if row is not None and row.blocked_until > now:
            return row.blocked_until - now
        self._note(key, 1 if row is None else row.count + 1, now)
        return 0.0

    def learn(self, key: str, said: Attempts, now: float) -> None:
        """Notes what the store counts."""
        self._note(key, said.failures, now)
        if said.wait:
            self._rows[key].blocked_until = now + said.wait / SECOND

    def _note(self, key: str, count: int, now: float) -> None:
        self._rows[key] = _Failures(count, now, now + self.allowance.wait(count) / SECOND)
        self._rows.move_to_end(key)
        if len(self._rows) > self._remembered_max:
            self._rows.popitem(last=False)

    def take_back(self, key: str) -> None:
        row = self._rows.get(key)
        if row is None:
            return
        row.count -= 1
        row.blocked_until = row.last + self.allowance.wait(row.count) / SECOND
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
