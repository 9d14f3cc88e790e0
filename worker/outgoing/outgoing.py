"""Everything that leaves, beside a worker's lanes: a reader and a relay for each target, and what is told of them."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence

import structlog

from domain.instant import SECOND, Instant
from eventstore.errors import StoreError
from eventstore.store import Store
from worker import metrics
from worker.outgoing.log_reader import LogReader
from worker.outgoing.relay import LOOK_S, Relay
from worker.outgoing.target import Target

log = structlog.get_logger(__name__)

RETRY_S = 1.0
COUNT_S = 5.0


class Outgoing:
    """Reads and sends for each of the `targets`. `shards` says which are ours at any moment."""

    def __init__(self, store: Store, targets: Sequence[Target], clock: Callable[[], Instant], *, name: str) -> None:
        self._store = store
        self._targets = tuple(targets)
        self._clock = clock
        self._readers = {each.name: LogReader(store, each, clock) for each in targets}
        self._relays = {each.name: Relay(store, each, clock, name=name) for each in targets}

    async def begin(self) -> None:
        """Marks where the log ends for targets that are new: called before the worker applies anything.

        `StoreError` as it comes; call it again.
        """
        for target in self._targets:
            await self._store.begin_reading(target.name)

    async def run(self, shards: Callable[[], Sequence[int]]) -> None:
        """Until it is cancelled. What fails is said, and tried again."""
        works = [asyncio.create_task(self._count(), name="outgoing-count")]
        for target in self._targets:
            works.append(asyncio.create_task(self._read(target, shards), name=f"outgoing-read-{target.name}"))
            works.append(asyncio.create_task(self._send(target, shards), name=f"outgoing-send-{target.name}"))
        try:
            await asyncio.gather(*works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            for relay in self._relays.values():
                with contextlib.suppress(StoreError, OSError):  # a claim ends by itself
                    await relay.close()

    async def _read(self, target: Target, shards: Callable[[], Sequence[int]]) -> None:
        reader = self._readers[target.name]

        async def step() -> float:
            return 0.0 if await reader.step(shards()) else target.read_every_s

        await _for_ever("outbox", target.name, step)

    async def _send(self, target: Target, shards: Callable[[], Sequence[int]]) -> None:
        relay = self._relays[target.name]

        async def step() -> float:
            begun = await relay.step(shards())
            await relay.pause(0.0 if begun else LOOK_S)
            return 0.0

        await _for_ever("relay", target.name, step)

    async def _count(self) -> None:
        async def step() -> float:
            backlog = {each.target: each for each in await self._store.backlog()}
            for target in self._targets:
                found = backlog.get(target.name)
                oldest_at = found.oldest_at if found else None
                age_s = 0.0 if oldest_at is None else max(self._clock() - oldest_at, 0) / SECOND
                metrics.outbox_oldest_seconds.labels(target.name).set(age_s)
                metrics.outbox_waiting.labels(target.name).set(found.waiting if found else 0)
                metrics.outbox_dead.labels(target.name).set(found.dead if found else 0)
            return COUNT_S

        await _for_ever("count", "all", step)


async def _for_ever(part: str, target: str, step: Callable[[], Coroutine[None, None, float]]) -> None:
    """Steps and waits as long as the step says; a step that fails is told, and tried again after a moment."""
    while True:
        try:
            wait_s = await step()
        except (StoreError, OSError) as error:
            log.warning("outgoing_waits", part=part, target=target, reason=str(error) or type(error).__name__)
            wait_s = RETRY_S
        except Exception:
            log.exception("outgoing_failed", part=part, target=target)  # a bug of ours; commands do not depend on it
            wait_s = RETRY_S
        await asyncio.sleep(wait_s)
