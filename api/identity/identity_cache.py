"""Identities that were verified lately, so that warm authentication costs microseconds; dropped when stamped.

A stamp says that a principal's authority changed (projections/stamps.py). Every process polls the stamps and drops
what they name; where they cannot be read for 30 s nothing cached may be trusted any more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import monotonic

import structlog
from msgspec import Struct

from api.account_plan import AccountPlan
from api.background import ended
from api.caller import Mode
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.instant import Instant
from domain.member import Level
from domain.user import Role
from eventstore.store import Store
from projections.documents import DocumentReader
from projections.stamps import stamps_after

POLL_S = 0.1
CONFIRMED_S = 30.0
READ_S = 5.0
CACHED_MAX = 20_000
CLAIMS_BYTES_MAX = 16 * 1024 * 1024
"""Claims that external tokens bring along: the rest of an identity is a few hundred bytes."""
STAMPS_PER_READ = 1_000

_log = structlog.get_logger()


class Identity(Struct, frozen=True, kw_only=True):
    """What verified credentials stand for. `principals` are those whose stamp ends it."""

    principals: tuple[str, ...]
    user_id: str
    account_id: str
    key_id: str | None
    role: Role
    scopes: frozenset[str]
    mode: Mode
    expires_at: Instant | None
    limits: KeyLimits = NO_LIMITS
    """A key's own limits."""
    level: Level | None = None
    """Of the member, where the account is an organization's."""
    project_id: str | None = None
    """The one project that the credentials see."""
    subscription: AccountPlan | None = None
    suspended: bool = False
    """The acting account is."""
    claims_json: bytes = b"{}"
    """Of an external token: its other claims."""
    own: "Identity | None" = None
    """The same person on its own account, where its token acts for an organization by itself."""


class IdentityCache:
    """Identities by the digest of their credentials, least recently used first.

    `generation` grows with each stamp: an identity whose documents were read under an older one may be stale before it
    is kept, so `keep` does not keep it.
    """

    def __init__(self, cached_max: int = CACHED_MAX, claims_bytes_max: int = CLAIMS_BYTES_MAX) -> None:
        self._cached_max = cached_max
        self._claims_bytes_max = claims_bytes_max
        self._claims_bytes = 0
        self._entries: OrderedDict[bytes, Identity] = OrderedDict()
        self._of: dict[str, set[bytes]] = {}
        self.generation = 0

    def get(self, digest: bytes) -> Identity | None:
        """The identity; it becomes the most recently used."""
        found = self._entries.get(digest)
        if found is not None:
            self._entries.move_to_end(digest)
        return found

    def keep(self, digest: bytes, identity: Identity, generation: int) -> None:
        """Keeps an identity whose documents were read while the cache was at `generation`."""
        if generation != self.generation:
            return
        self.forget(digest)
        self._entries[digest] = identity
        for principal in identity.principals:
            self._of.setdefault(principal, set()).add(digest)
        self._claims_bytes += len(identity.claims_json)
        while len(self._entries) > self._cached_max or self._claims_bytes > self._claims_bytes_max:
            self.forget(next(iter(self._entries)))

    def forget(self, digest: bytes) -> None:
        """Drops one."""
        identity = self._entries.pop(digest, None)
        if identity is None:
            return
        self._claims_bytes -= len(identity.claims_json)
        for principal in identity.principals:
            digests = self._of[principal]
            digests.discard(digest)
            if not digests:
                del self._of[principal]

    def stamped(self, principals: Iterable[str]) -> None:
        """Drops all identities of principals whose authority changed."""
        for principal in principals:
            self.generation += 1
            for digest in tuple(self._of.get(principal, ())):
                self.forget(digest)

    def clear(self) -> None:
        """Drops everything."""
        self.generation += 1
        self._claims_bytes = 0
        self._entries.clear()
        self._of.clear()

    def __len__(self) -> int:
        return len(self._entries)


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
