"""Where the endpoint asks: counts a request of a caller or of an address, and says on the answer how it stands."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from api.account_plan import AccountPlan
from api.answer import Header, Sender
from api.api_key_use import KeyUse
from api.caller import Caller
from api.identity.login_throttle import network_of
from api.lookup import LookupHash
from api.plans import Plan
from api.rate_limits.exchange import RateExchanger
from api.rate_limits.headers import refusal_of, verdict_headers
from api.rate_limits.limiter import RateLimiter, State, Verdict
from api.rate_limits.minutes import KeyMinutes
from api.rate_limits.rules import Allowance, address_allowance, caller_allowance
from domain.account.api_key_limits import KeyLimits
from eventstore.rates import RateStore
from projections.documents import DocumentReader
from telemetry import metrics

CALLERS_MAX = 20_000
"""Callers whose rules are at hand, and as many addresses; the least recently seen goes first."""

KEY_USED_UP = "key_credit_limit_exceeded"

_refusals = metrics.counter("rate_limited", "Requests refused by a rate limit.", ("limit",))


class _Known(Struct, frozen=True, kw_only=True):
    """A caller's rules, and what they were made of."""

    subscription: AccountPlan | None
    limits: KeyLimits
    allowance: Allowance


class RateLimits:
    """`start` before the first request, `stop` after the last. `anonymous_per_minute` is `None` without limits."""

    def __init__(
        self,
        store: RateStore,
        documents: DocumentReader,
        lookup: LookupHash,
        free: Plan,
        *,
        anonymous_per_minute: int | None,
    ) -> None:
        self.limiter = RateLimiter()
        self.exchanger = RateExchanger(self.limiter, store)
        self.minutes = KeyMinutes(store, documents)
        self._lookup = lookup
        self._free = free
        self._anonymous_per_minute = anonymous_per_minute
        self._addresses: OrderedDict[str, Allowance] = OrderedDict()
        self._callers: OrderedDict[tuple[str, str, str | None], _Known] = OrderedDict()

    async def start(self) -> None:
        """Begins to share counts; does not wait for a store that is away."""
        await self.exchanger.start()

    async def stop(self) -> None:
        """Tells what was counted and ends."""
        await self.minutes.stop()
        await self.exchanger.stop()

    def report_minutes(self, record: Callable[[KeyUse], Awaitable[bool]]) -> None:
        """Begins to put uses of keys on record, by `record`."""
        self.minutes.start(record)

    async def admit(self, sender: Sender, allowance: Allowance) -> None:
        """Counts one request; 429 `rate_limited` if a limit is used up. Every answer carries the headers."""
        verdict = await self.exchanger.admit(allowance)
        sender.add(*verdict_headers(allowance, verdict))
        if verdict.refused is not None:
            _refusals.labels(verdict.refused.rule.name).inc()
            raise refusal_of(verdict.refused)

    async def admit_caller(self, sender: Sender, caller: Caller, scope: str | None = None) -> None:
        """The same for an authenticated caller, by its account's plan, the scope needed, and its key's own limits."""
        self.minutes.seen(caller)
        await self.admit(sender, self.of_caller(caller, scope))

    async def admit_payer(self, sender: Sender, caller: Caller) -> None:
        """The same for somebody who pays: by address, since what is used up is what is to be bought."""
        self.minutes.seen(caller)
        await self.admit_address(sender, caller.address)

    async def admit_address(self, sender: Sender, address: str) -> None:
        """The same for somebody who is not known, by address; of IPv6 by its /64."""
        if self._anonymous_per_minute is not None:
            await self.admit(sender, self._of_address(address, self._anonymous_per_minute))

    def address_headers(self, address: str) -> list[Header]:
        """What an answer that counts for nothing says: how the address stands."""
        if self._anonymous_per_minute is None:
            return []
        allowance = self._of_address(address, self._anonymous_per_minute)
        return verdict_headers(allowance, Verdict(states=self.limiter.peek(allowance)))

    def refused(self, caller: Caller, code: str) -> None:
        """Counts what was refused to a key for a limit of its own other than a rate: its events tell that too."""
        if code == KEY_USED_UP and caller.key_id is not None:
            self.limiter.refused(self.of_caller(caller))

    def standing(self, caller: Caller) -> Sequence[State]:
        """How a caller's limits stand, counting nothing."""
        return self.limiter.peek(self.of_caller(caller))

    def used_up(self, caller: Caller) -> State | None:
        """The limit that would refuse the caller's next request, if any does; counts nothing."""
        return self.limiter.used_up(self.of_caller(caller))

    def of_caller(self, caller: Caller, scope: str | None = None) -> Allowance:
        """The caller's rules; made anew when its plan or its key's limits were read anew."""
        plan = self._free if caller.subscription is None else caller.subscription.plan
        if scope not in plan.scope_requests_per_minute:
            scope = None
        who = (caller.account_id, caller.principal, scope)
        known = self._callers.get(who)
        if known is not None and known.subscription is caller.subscription and known.limits is caller.limits:
            self._callers.move_to_end(who)
            return known.allowance
        enforced = self._anonymous_per_minute is not None
        made = caller_allowance(caller.account_id, plan, caller.key_id, caller.limits, enforced=enforced, scope=scope)
        self._callers[who] = _Known(subscription=caller.subscription, limits=caller.limits, allowance=made)
        if len(self._callers) > CALLERS_MAX:
            self._callers.popitem(last=False)
        return made

    def _of_address(self, address: str, per_minute: int) -> Allowance:
        found = self._addresses.get(address)
        if found is None:
            digest = self._lookup.digest("rate", network_of(address).encode())[:32]
            found = self._addresses[address] = address_allowance(digest, per_minute)
            if len(self._addresses) > CALLERS_MAX:
                self._addresses.popitem(last=False)
        else:
            self._addresses.move_to_end(address)
        return found
