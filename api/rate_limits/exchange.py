"""Ten times a second this process tells the store what it has counted, and hears what the others have.

While the store does not answer, nobody waits: every process keeps to its part of each limit, by the number of
processes that was last heard of, and says so.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, perf_counter

import structlog

from api.background import ended
from api.ids import random_hex
from api.rate_limits.limiter import RateLimiter, Verdict
from api.rate_limits.rules import Allowance
from eventstore.rates import RateStore
from telemetry import metrics

RHYTHM_S = 0.1
SPACING_S = 0.005
"""The least between two exchanges, however many ask for one."""
HEARTBEAT_S = 1.0
"""How often an idle process exchanges, to say that it lives and to know whether the store does."""
AWAY_S = 2.5
"""Without an answer for so long the store counts as away."""
STATEMENT_S = 2.0
ASK_S = 0.5
"""How long a request waits at most to hear what the others have admitted; then this process keeps to its part."""
ROUNDS_MAX = 20
DELTAS_MAX = 5_000
"""In one statement; more take several."""

_log = structlog.get_logger()
_seconds = metrics.seconds("rate_exchange_seconds", "From asking the store for others' counts to its answer.")
_failures = metrics.counter("rate_exchange_failures", "Exchanges of counts that failed.")
_alone = metrics.gauge("rate_limits_alone", "1 while the store is away and limits are divided among the processes.")
_processes = metrics.gauge("api_processes", "API processes that share the limits, as last heard.")


class RateExchanger:
    """`start` before the first request, `stop` after the last: what was counted until then is told."""

    def __init__(
        self,
        limiter: RateLimiter,
        store: RateStore,
        *,
        clock: Callable[[], float] = monotonic,
        rhythm_s: float = RHYTHM_S,
    ) -> None:
        self.limiter = limiter
        self.process = random_hex()
        """How this process is named in the store."""
        self._store = store
        self._clock = clock
        self._rhythm_s = rhythm_s
        self._poked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._begun_at: float | None = None
        self._heard_at = clock()
        self._task: asyncio.Task[None] | None = None
        limiter.poke = self._poked.set

    async def start(self) -> None:
        """Exchanges once, so that the number of processes is known, and from then on in the background."""
        await self._try()
        self._task = asyncio.create_task(self._run(), name="rates")

    async def stop(self) -> None:
        """Ends the rhythm with a last exchange."""
        if self._task is not None:
            await ended(self._task)
            self._task = None
            await self._try()

    async def admit(self, allowance: Allowance) -> Verdict:
        """Decides in microseconds; where this process's share is used up, after hearing the others, in a few ms."""
        verdict = self.limiter.take(allowance)
        return await self.settle(allowance) if verdict.unsure else verdict

    async def settle(self, allowance: Allowance) -> Verdict:
        """The decision of one that was `unsure`."""
        give_up_at = self._clock() + ASK_S
        for _ in range(ROUNDS_MAX):
            if not await self._heard(give_up_at - self._clock()):
                break
            verdict = self.limiter.take(allowance)
            if not verdict.unsure:
                return verdict
        return self.limiter.take(allowance, final=True)

    async def _heard(self, timeout_s: float) -> bool:
        """Waits for the end of an exchange that begins from now on; False if there is none in time."""
        slow = self._begun_at is not None and self._clock() - self._begun_at > ASK_S
        if timeout_s <= 0 or slow or self._task is None:
            return False
        heard = asyncio.get_running_loop().create_future()
        self._waiting.append(heard)
        self._poked.set()
        try:
            async with asyncio.timeout(timeout_s):
                await heard
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        while True:
            begun_at = self._clock()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rhythm_s):
                    await self._poked.wait()
            self._poked.clear()
            spare_s = SPACING_S - (self._clock() - begun_at)
            if spare_s > 0:
                await asyncio.sleep(spare_s)
            idle = not self.limiter.active and not self._waiting
            if not idle or self._clock() - self._heard_at >= HEARTBEAT_S:
                await self._try()

    async def _try(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._begun_at = self._clock()
        began = perf_counter()
        try:
            await self._exchange()
        except Exception as error:  # noqa: BLE001 - whatever it is, deciding goes on by what is known
            _failures.inc()
            if not self.limiter.alone:
                _log.warning("rates_not_exchanged", error=type(error).__name__)
        else:
            self._heard_at = self._clock()
        _seconds.observe(perf_counter() - began)
        self._begun_at = None
        self._judge()
        for heard in waiting:
            if not heard.done():
                heard.set_result(None)

    async def _exchange(self) -> None:
        for _ in range(1 + self.limiter.active // DELTAS_MAX):
            deltas = self.limiter.tell(DELTAS_MAX)
            try:
                async with asyncio.timeout(STATEMENT_S):
                    exchange = await self._store.exchange_rates(self.process, deltas)
            except BaseException:
                self.limiter.untold(deltas)
                raise
            self.limiter.learn(deltas, exchange)

    def _judge(self) -> None:
        """Notices that the store went away, or came back."""
        alone = self._clock() - self._heard_at > AWAY_S
        if alone != self.limiter.alone:
            _log.warning("rate_limits_alone" if alone else "rate_limits_shared", processes=self.limiter.processes)
        self.limiter.alone = alone
        _alone.set(int(alone))
        _processes.set(self.limiter.processes)

    def problem(self) -> str | None:
        """What `/ready` says while the store is away."""
        if not self.limiter.alone:
            return None
        return f"counts cannot be shared: each limit is divided by {self.limiter.processes} API processes"
