"""Sends deliveries until they are taken or given up: in order per account, many accounts at once.

A claim is written before anything is sent, and is longer than an attempt may take: a worker that is killed in between
leaves a delivery that somebody sends again. So each arrives at least once, and receivers know repeats by their id.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

import structlog
from msgspec.structs import replace

from domain.instant import SECOND, Instant
from eventstore.errors import StoreError
from eventstore.outbox import Delivery, OutboxStore
from worker import metrics
from worker.outgoing.target import ATTEMPT_S, Attempt, Target

log = structlog.get_logger(__name__)

SENDING_MAX = 16
"""Attempts under way at once: so many accounts whose receiver hangs hold up the others."""
WRITING_MAX = 3
"""Of them may write down at once what became of them: the lanes need connections too."""
CLAIM_S = ATTEMPT_S + 20.0
"""How long nobody else sends it; the margin is for clocks that differ and for a process that stands still."""
BACKOFF_S = 1.0
BACKOFF_MAX_S = 300.0
LOOK_S = 0.5
CLOSE_S = 2.0


class Relay:
    """Sends for one target, under `name`, the deliveries of the shards that `step` is called for."""

    def __init__(
        self,
        store: OutboxStore,
        target: Target,
        clock: Callable[[], Instant],
        *,
        name: str,
        rng: random.Random | None = None,
        claim_s: float = CLAIM_S,
        attempt_s: float = ATTEMPT_S,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._store = store
        self._target = target
        self._clock = clock
        self._name = name
        self._rng = rng or random.Random()  # noqa: S311  # spreads attempts, protects nothing
        self._claim_s = claim_s
        self._attempt_s = attempt_s
        self._backoff_s = backoff_s
        self._sending: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._writing = asyncio.Semaphore(WRITING_MAX)

    async def step(self, shards: Sequence[int]) -> int:
        """Begins to send what is due, as far as there is room; answers how many it has begun."""
        room = SENDING_MAX - len(self._sending)
        if not room or not shards:
            return 0
        at = self._clock()
        until = at + int(self._claim_s * SECOND)
        claimed = await self._store.claim_deliveries(self._name, self._target.name, shards, at, until, room)
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery), name=f"delivery-{self._target.name}")
            self._sending.add(task)
            task.add_done_callback(self._done)
        return len(claimed)

    async def pause(self, wait_s: float = LOOK_S) -> None:
        """Until an attempt has ended, so that the account's next can go, or for `wait_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ended.wait()
        self._ended.clear()

    async def close(self) -> None:
        """Lets attempts end for a moment, then frees what is still claimed. `StoreError` as it comes."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=CLOSE_S)
        await self.abort()
        await self._store.release_deliveries(self._name)

    async def abort(self) -> None:
        """Cuts off what is under way, and tells nobody."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim ends by itself, and it is sent again.
            reason = str(error) if isinstance(error, StoreError | OSError) else repr(error)
            log.warning("delivery_undecided", target=self._target.name, reason=reason)

    async def _deliver(self, delivery: Delivery) -> None:
        if self._clock() + int(self._attempt_s * SECOND) > delivery.claimed_until:
            return  # we stood still: by the time it is sent the claim may be somebody else's
        attempt = await self._attempt(delivery)
        if attempt.taken:
            async with self._writing:
                await self._store.finish_delivery(delivery)
            metrics.deliveries.labels(delivery.target, "taken").inc()
            return
        after = self._after(delivery, attempt)
        async with self._writing:
            await self._store.postpone_delivery(after)
        metrics.deliveries.labels(delivery.target, "failed" if after.state == "waiting" else "dead").inc()
        if after.state == "dead":
            log.error("delivery_dead", **_named(after))
        else:
            log.info("delivery_failed", **_named(after))

    async def _attempt(self, delivery: Delivery) -> Attempt:
        at, deadline = self._clock(), self._target.deadline(delivery)
        if deadline is not None and delivery.attempts > 1 and at >= deadline:
            return Attempt(taken=False, problem=delivery.problem or "too late", arrived=False, again=False)
        try:
            async with asyncio.timeout(self._attempt_s):
                return await self._target.send(delivery)
        except TimeoutError:
            return Attempt(taken=False, problem=f"no answer within {self._attempt_s:g} s")

    def _after(self, delivery: Delivery, attempt: Attempt) -> Delivery:
        """The delivery after a failed attempt: due again after a pause that doubles, or given up."""
        at = self._clock()
        deadline = self._target.deadline(delivery)
        claimed_at = delivery.claimed_until - int(self._claim_s * SECOND)
        unseen = not attempt.arrived and delivery.first_sent_at == claimed_at
        first_sent_at = None if unseen else delivery.first_sent_at
        if not attempt.again or (deadline is not None and at >= deadline):
            return replace(delivery, state="dead", problem=attempt.problem, first_sent_at=first_sent_at)
        pause_s = min(self._backoff_s * 2 ** min(delivery.attempts - 1, 20), BACKOFF_MAX_S)
        due_at = at + int(pause_s * (0.5 + self._rng.random() / 2) * SECOND)
        if deadline is not None:
            due_at = min(due_at, deadline)
        return replace(delivery, due_at=due_at, problem=attempt.problem, first_sent_at=first_sent_at)


def _named(delivery: Delivery) -> dict[str, object]:
    return {
        "target": delivery.target,
        "delivery": delivery.id,
        "kind": delivery.type,
        "account": delivery.account,
        "attempts": delivery.attempts,
        "reason": delivery.problem,
    }
