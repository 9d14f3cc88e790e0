"""Keeps cached identities honest: every process polls whose authority changed (projections/stamps.py) and drops it.

Where the stamps cannot be read for 30 s nothing cached may be trusted any more.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from api.background import ended
from api.identity.identity_cache import IdentityCache
from eventstore.store import Store
from projections.documents import DocumentReader
from projections.stamps import stamps_after

POLL_S = 0.1
CONFIRMED_S = 30.0
READ_S = 5.0
STAMPS_PER_READ = 1_000

_log = structlog.get_logger()


class StampsPoller:
    """Keeps a cache honest. `confirmed` is False when the stamps could not be read for 30 s: then trust nothing."""

    def __init__(
        self,
        cache: IdentityCache,
        store: Store,
        documents: DocumentReader,
        *,
        clock: Callable[[], float] = monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        self._cache = cache
        self._store = store
        self._documents = documents
        self._clock = clock
        self._poll_s = poll_s
        self._positions: dict[int, str] | None = None
        self._reading = asyncio.Lock()
        self._begun = self._read = 0
        """The newest read of stamps that began, and the newest that ended."""
        self._confirmed_until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def confirmed(self) -> bool:
        """True while everything cached was confirmed within the last 30 s."""
        return self._clock() < self._confirmed_until

    async def start(self) -> None:
        """Polls once, so that the first request finds it confirmed, and from then on in the background."""
        await self._try()
        self._task = asyncio.create_task(self._run(), name="stamps")

    async def stop(self) -> None:
        """Ends the polling."""
        await ended(self._task)
        self._task = None

    async def poll(self) -> None:
        """Reads what was stamped since the last time and drops it. `StoreError` leaves the position where it was."""
        async with self._reading:
            asked_at = self._clock()
            ends = {head.shard: f"{head.seq:020d}" for head in await self._store.shard_heads()}
            if self._positions is None or any(ends.get(shard, "") < at for shard, at in self._positions.items()):
                # What was stamped before is in the documents that identities are read from: only the future matters.
                # A position behind the end is of a database that was replaced by an older one while we ran.
                self._positions = ends
                self._cache.clear()
            await self._drop_stamped(self._positions)
            self._confirmed_until = asked_at + CONFIRMED_S

    async def hear(self) -> None:
        """Drops what was stamped until now. Who waits at once shares a read, which begins after all of them came.

        `StoreError` or `OSError` where it cannot be read within 5 s.
        """
        newest = self._begun
        async with asyncio.timeout(READ_S), self._reading:
            if self._read <= newest and self._positions is not None:
                await self._drop_stamped(self._positions)

    async def _drop_stamped(self, positions: dict[int, str]) -> None:
        self._begun = this = self._begun + 1
        while True:
            stamps = await stamps_after(self._documents, positions, limit=STAMPS_PER_READ)
            for shard, position, stamp in stamps:
                positions[shard] = position
                self._cache.stamped((stamp.principal,))
            if len(stamps) < STAMPS_PER_READ:
                break
        self._read = this

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self._try()

    async def _try(self) -> None:
        was_confirmed = self.confirmed
        try:
            async with asyncio.timeout(READ_S):
                await self.poll()
        except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on; `confirmed` turns False by itself
            if not was_confirmed:
                _log.warning("stamps_not_read", error=type(error).__name__)
