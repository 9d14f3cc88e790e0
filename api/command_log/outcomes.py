"""Waits for outcomes: one poller per process asks for all awaited ids in one query.

A read looks only at what is due: a new waiter after a millisecond, an old one ever more seldom, so that a slow worker
is not asked harder than a fast one. Where the worker lives in the same process (devnet), `poke` hands outcomes over.
"""

import asyncio
import math
from collections.abc import Iterable

from api.background import ended
from api.errors import ApiError
from api.timers import timers_of
from eventstore.errors import StoreError
from eventstore.records import Outcome
from eventstore.store import Store
from telemetry import logs, metrics

WAITERS_MAX = 10_000
FIRST_READ_S = 0.001
READ_EVERY_MIN_S = 0.0007
READ_EVERY_MAX_S = 0.020
BACKOFF = 0.15
"""The next read of a waiter comes after this part of its age."""
STORE_RETRY_S = 0.1

_reads = metrics.counter("outcome_reads", "Queries for awaited outcomes.")
_waiting = metrics.gauge("outcome_waiters", "Requests that wait for an outcome.")


class _Waiter:
    __slots__ = ("attempt", "command_id", "done", "due", "fingerprint", "shard", "since")

    def __init__(
        self, shard: int, command_id: str, attempt: str, fingerprint: str | None, done: "asyncio.Future[Outcome | None]"
    ) -> None:
        self.shard = shard
        self.command_id = command_id
        self.attempt = attempt
        self.fingerprint = fingerprint
        self.done = done
        self.since = done.get_loop().time()
        self.due = self.since + FIRST_READ_S

    def ends_with(self, outcome: Outcome) -> bool:
        """A refusal that may be cured is no answer to another attempt, unless it was another request's."""
        if outcome.settles(self.attempt):
            return True
        return self.fingerprint is not None and outcome.fingerprint != self.fingerprint

    def later(self, now: float) -> None:
        age = now - self.since
        self.due = now + min(READ_EVERY_MAX_S, max(READ_EVERY_MIN_S, age * BACKOFF))


class OutcomePoller:
    """See the module. `start` before the first `wait`; `stop` lets every waiter end empty-handed."""

    def __init__(self, store: Store, *, waiters_max: int = WAITERS_MAX) -> None:
        self._store = store
        self._waiters_max = waiters_max
        self._waiters: set[_Waiter] = set()
        _waiting.set_function(lambda: len(self._waiters))
        self._by_command: dict[str, list[_Waiter]] = {}
        self._sleeps_until = math.inf
        """When the poller looks by itself; who is due earlier wakes it."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get(part="outcomes")

    async def start(self) -> None:
        """Begins to poll."""
        self._task = asyncio.create_task(self._run(), name="outcomes")

    async def stop(self) -> None:
        """Ends the polling; whoever still waits gets `None`, as if the time had passed."""
        await ended(self._task)
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_result(None)

    def admit(self) -> None:
        """503 `overloaded` past the bound of waiters; asked before a command is sent: afterwards it is too late."""
        if len(self._waiters) >= self._waiters_max:
            raise ApiError("overloaded", headers={"Retry-After": "1"})

    async def wait(
        self, shard: int, command_id: str, attempt: str, timeout_s: float, *, fingerprint: str | None = None
    ) -> Outcome | None:
        """The outcome that settles the attempt, or `None` after `timeout_s`, or at once where too many wait already.

        With a `fingerprint`, the outcome of another request under the same id ends the wait as well.
        """
        if len(self._waiters) >= self._waiters_max:
            return None
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome | None] = loop.create_future()
        waiter = _Waiter(shard, command_id, attempt, fingerprint, done)
        timer = timers_of(loop).call_later(timeout_s, _give_up, done)
        self._waiters.add(waiter)
        self._by_command.setdefault(command_id, []).append(waiter)
        if waiter.due < self._sleeps_until:
            self._wake.set()
        try:
            return await done
        finally:
            timer.cancel()
            self._remove(waiter)

    def _remove(self, waiter: _Waiter) -> None:
        self._waiters.discard(waiter)
        left = [each for each in self._by_command[waiter.command_id] if each is not waiter]
        if left:
            self._by_command[waiter.command_id] = left
        else:
            del self._by_command[waiter.command_id]

    async def read(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """What is there already, for (shard, command id) pairs. `StoreError` when the store is away."""
        return await self._store.read_outcomes(ids)

    def poke(self, outcomes: Iterable[Outcome]) -> None:
        """Hands over outcomes that were committed in this very process: what a read would find."""
        for outcome in outcomes:
            for waiter in self._by_command.get(outcome.command_id, ()):
                if not waiter.done.done() and waiter.ends_with(outcome):
                    waiter.done.set_result(outcome)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        read_at = 0.0
        while True:
            self._wake.clear()
            now = loop.time()
            due = min((waiter.due for waiter in self._waiters), default=math.inf)
            if max(due, read_at + READ_EVERY_MIN_S) <= now:
                read_at = now
                await self._read(now)
            else:
                await self._sleep(loop, max(due, read_at + READ_EVERY_MIN_S))

    async def _sleep(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Until that time, or until somebody who is due earlier waits."""
        self._sleeps_until = until
        timer = None if until == math.inf else loop.call_at(until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            self._sleeps_until = -math.inf
            if timer is not None:
                timer.cancel()

    async def _read(self, now: float) -> None:
        """Asks for what is due. A store that is away is asked again, more slowly."""
        due = [waiter for waiter in self._waiters if waiter.due <= now]
        for waiter in due:
            waiter.later(now)
        if not due:
            return
        _reads.inc()
        try:
            found = await self._store.read_outcomes({(waiter.shard, waiter.command_id) for waiter in due})
        except (StoreError, OSError) as error:
            self._log.warning("outcomes_unreadable", error=type(error).__name__)
            await asyncio.sleep(STORE_RETRY_S)
            return
        except Exception:  # noqa: BLE001 (whatever it is: without this loop every write would be a 202)
            self._log.exception("outcomes_unreadable")
            await asyncio.sleep(STORE_RETRY_S)
            return
        for waiter in due:
            outcome = found.get(waiter.command_id)
            if outcome is not None and not waiter.done.done() and waiter.ends_with(outcome):
                waiter.done.set_result(outcome)


def _give_up(done: "asyncio.Future[Outcome | None]") -> None:
    if not done.done():
        done.set_result(None)
