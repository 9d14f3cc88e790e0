"""The store in memory: devnet's store, and the reference that the Postgres store is held against.

Every read sees committed data only; what a round writes is staged and applied at its commit, after the fence has been
checked once more, so that it can do nothing that Postgres could not. Nothing here ever waits, but for `pause`.
"""

import bisect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from msgspec.structs import replace

from domain.instant import SECOND, Instant
from eventstore.erasure import ERASING, subjects_of
from eventstore.errors import Fenced, Unavailable, VersionConflict
from eventstore.memory_secrets import MemorySecrets
from eventstore.records import (
    SECRET_KEPT,
    Batch,
    ClaimRow,
    DeadLetter,
    Lease,
    Outcome,
    ShardHead,
    StoredEvent,
    StoredStream,
    StreamHead,
)


async def _no_pause() -> None:
    """Between any two steps of a round; the simulation stops, crashes or switches workers here."""


class MemoryRound:
    """See `store.Round`."""

    def __init__(self, store: "MemoryStore", heads: dict[int, ShardHead]) -> None:
        self._store = store
        self.heads = heads
        self.ended = False
        """Set when somebody claims a shard that this round has locked: its transaction is gone."""
        self.failure: VersionConflict | None = None
        """A round in which a write failed cannot be committed, even if its caller goes on."""
        self._staged: list[Callable[[], None]] = []
        self._claims: dict[tuple[str, str], ClaimRow] = {}

    def stage(self, apply: Callable[[], None]) -> None:
        """Keeps a change for the commit."""
        self._staged.append(apply)

    async def step(self) -> None:
        """One exchange with the store: a place where the world may change."""
        await self._store.pause()
        if self.ended:
            raise Unavailable("the transaction was ended by another worker's claim")

    async def outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.Round`."""
        await self.step()
        return await self._store.read_outcomes(ids)

    async def streams(self, streams: Iterable[tuple[int, str]]) -> dict[str, StoredStream]:
        """See `store.Round`."""
        await self.step()
        return {name: found for _, name in streams if (found := self._store.stored_stream(name)) is not None}

    async def take_claims(self, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:
        """See `store.Round`."""
        await self.step()
        lost = set()
        for claim in claims:
            key = (claim.kind, claim.value)
            holder = self._claims.get(key) or self._store.claims.get(key)
            if holder is None:
                self._claims[key] = claim
            elif holder.stream != claim.stream:
                lost.add(key)
        return lost

    async def write(self, batch: Batch) -> None:
        """See `store.Round`."""
        await self.step()
        for version, head in batch.heads:
            stored = self._store.heads.get(head.stream)
            if version != (stored.version if stored else 0):
                self.failure = VersionConflict(head.stream)
                raise self.failure
        for claim in batch.claims_freed:
            taken = self._claims.get((claim.kind, claim.value))
            if taken is not None and taken.command_id == claim.command_id:
                del self._claims[claim.kind, claim.value]
        self.stage(lambda: self._store.apply(batch))

    def commit(self) -> None:
        """Applies what was staged; no step lies inside."""
        if self.failure is not None:
            raise self.failure
        lost = [key for key, claim in self._claims.items() if self._store.holder(key, claim.stream)]
        if lost:
            raise VersionConflict(f"claims {lost}")
        self._store.claims.update(self._claims)
        for apply in self._staged:
            apply()


class MemoryStore(MemorySecrets):
    """See `store.Store`. `clock` tells leases the time, as Postgres's own clock does there."""

    def __init__(
        self, shards: int, clock: Callable[[], Instant], pause: Callable[[], Awaitable[None]] = _no_pause
    ) -> None:
        super().__init__()
        self._clock = clock
        self.pause = pause
        self._shard_heads = {
            shard: ShardHead(shard=shard, owner=None, epoch=0, next_offset=0, seq=0, last_digest=b"")
            for shard in range(shards)
        }
        self._lease_until = dict.fromkeys(range(shards), 0)
        self._lease_s = dict.fromkeys(range(shards), 0.0)
        self._workers: dict[str, Instant] = {}
        self._locks: dict[int, MemoryRound] = {}
        self._dead_letters: dict[tuple[int, int, int], DeadLetter] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._streams: dict[str, list[StoredEvent]] = {}
        self._log: dict[int, list[StoredEvent]] = {shard: [] for shard in range(shards)}
        self.heads: dict[str, StreamHead] = {}
        self.claims: dict[tuple[str, str], ClaimRow] = {}

    # Rounds and leases

    async def shards(self) -> int:
        """See `store.ShardStore`."""
        return len(self._shard_heads)

    @asynccontextmanager
    async def round(self, worker: str, leases: Sequence[Lease]) -> AsyncIterator[MemoryRound]:
        """See `store.ShardStore`."""
        await self.pause()
        self._fence(worker, leases)
        if any(lease.shard in self._locks for lease in leases):
            raise Unavailable("another transaction of this worker holds the shard")
        opened = MemoryRound(self, {lease.shard: self._shard_heads[lease.shard] for lease in leases})
        self._locks |= dict.fromkeys(opened.heads, opened)
        try:
            yield opened
            await opened.step()
            self._fence(worker, leases)
            opened.commit()
            self._prolong(leases)
        finally:
            for shard in opened.heads:
                if self._locks.get(shard) is opened:
                    del self._locks[shard]
        await self.pause()  # it is done, but the answer may still be lost

    async def announce(self, worker: str, lease_s: float) -> int:
        """See `store.ShardStore`."""
        await self.pause()
        self._workers[worker] = self._clock() + int(lease_s * SECOND)
        return sum(1 for until in self._workers.values() if until > self._clock())

    async def retire(self, worker: str) -> None:
        """See `store.ShardStore`."""
        self._workers.pop(worker, None)
        mine = [head for head in self._shard_heads.values() if head.owner == worker]
        await self.give_back(worker, [Lease(shard=head.shard, epoch=head.epoch) for head in mine])

    async def claim(self, worker: str, count: int, lease_s: float, shunned: Sequence[int] = ()) -> list[ShardHead]:
        """See `store.ShardStore`."""
        await self.pause()
        expired = {shard for shard, until in self._lease_until.items() if until <= self._clock()}
        free = (each for each, head in self._shard_heads.items() if head.owner is None or each in expired)
        taken = list(islice((shard for shard in free if shard not in shunned), count))
        return [self._take(worker, shard, lease_s) for shard in taken]

    async def seize(self, worker: str, shard: int, lease_s: float) -> ShardHead:
        """See `store.ShardStore`."""
        await self.pause()
        if shard in self._locks:
            raise Unavailable("a round holds the shard")
        return self._take(worker, shard, lease_s)

    def _take(self, worker: str, shard: int, lease_s: float) -> ShardHead:
        frozen = self._locks.pop(shard, None)
        if frozen is not None:
            frozen.ended = True
        head = self._shard_heads[shard]
        self._shard_heads[shard] = replace(head, owner=worker, epoch=head.epoch + 1)
        self._lease_s[shard] = lease_s
        self._prolong([Lease(shard=shard, epoch=head.epoch + 1)])
        return self._shard_heads[shard]

    async def renew(self, worker: str, leases: Sequence[Lease], lease_s: float) -> None:
        """See `store.ShardStore`."""
        await self.pause()
        self._fence(worker, leases)
        self._lease_s |= {lease.shard: lease_s for lease in leases}
        self._prolong(leases)

    async def give_back(self, worker: str, leases: Sequence[Lease]) -> None:
        """See `store.ShardStore`."""
        await self.pause()
        for lease in leases:
            head = self._shard_heads[lease.shard]
            if (head.owner, head.epoch) == (worker, lease.epoch):
                self._shard_heads[lease.shard] = replace(head, owner=None)

    async def stop_shard(self, worker: str, lease: Lease, reason: str | None) -> None:
        """See `store.ShardStore`."""
        await self.pause()
        self._fence(worker, [lease])
        self._shard_heads[lease.shard] = replace(self._shard_heads[lease.shard], stopped=reason)

    async def adopt(self, shard: int, next_offset: int, adopt_until: int) -> None:
        """See `store.ShardStore`."""
        head = self._shard_heads[shard]
        self._shard_heads[shard] = replace(
            head,
            owner=None,
            epoch=head.epoch + 1,
            next_offset=next_offset,
            last_digest=b"",
            stopped=None,
            adopt_until=adopt_until,
        )

    async def shard_heads(self) -> list[ShardHead]:
        """See `store.ShardStore`."""
        return list(self._shard_heads.values())

    async def due(self, shards: Sequence[int], at: Instant, limit: int) -> list[tuple[str, Instant]]:
        """See `store.ShardStore`."""
        await self.pause()
        wanted = frozenset(shards)
        overdue = [
            (head.due_at, name)
            for name, head in self.heads.items()
            if head.due_at is not None and head.due_at <= at and head.shard in wanted
        ]
        return [(name, due_at) for due_at, name in sorted(overdue)[:limit]]

    def _fence(self, worker: str, leases: Sequence[Lease]) -> None:
        lost = [
            lease.shard
            for lease in leases
            if (self._shard_heads[lease.shard].owner, self._shard_heads[lease.shard].epoch) != (worker, lease.epoch)
        ]
        if lost:
            raise Fenced(lost)

    def _prolong(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._lease_until[lease.shard] = self._clock() + int(self._lease_s[lease.shard] * SECOND)

    # What rounds read and write

    def stored_stream(self, name: str, *, whole: bool = False) -> StoredStream | None:
        """The stream as it is committed."""
        head = self.heads.get(name)
        if head is None:
            return None
        return StoredStream(head=head, events=self._streams.get(name, [])[0 if whole else head.snapshot_at :])

    def holder(self, key: tuple[str, str], stream: str) -> ClaimRow | None:
        """Who holds a claim, if it is not `stream`."""
        found = self.claims.get(key)
        return found if found is not None and found.stream != stream else None

    def apply(self, batch: Batch) -> None:
        """Writes a batch that its round has checked."""
        for event in batch.events:
            self._streams.setdefault(event.stream, []).append(event)
            self._log[event.shard].append(event)
        for _, head in batch.heads:
            self._put_head(head)
        self._outcomes |= {outcome.command_id: outcome for outcome in batch.outcomes}
        for claim in batch.claims_freed:
            holder = self.claims.get((claim.kind, claim.value))
            if holder is not None and holder.command_id == claim.command_id:
                del self.claims[claim.kind, claim.value]
        for claim in batch.claims_released:
            holder = self.claims.get((claim.kind, claim.value))
            if holder is not None and holder.stream == claim.stream:
                del self.claims[claim.kind, claim.value]
        self.erase_keys(batch.keys_erased)
        for letter in batch.dead_letters:
            epoch = letter.epoch or self._shard_heads[letter.shard].epoch
            self._dead_letters[letter.shard, epoch, letter.offset] = replace(letter, epoch=epoch)
        for each in batch.progress:
            self._shard_heads[each.shard] = replace(
                self._shard_heads[each.shard],
                next_offset=each.next_offset,
                seq=each.seq,
                last_digest=each.last_digest,
            )

    def _put_head(self, head: StreamHead) -> None:
        stored = self.heads.get(head.stream)
        if head.snapshot is None and stored is not None and stored.snapshot is not None:
            head = replace(
                head,
                snapshot=stored.snapshot,
                snapshot_at=stored.snapshot_at,
                snapshot_version=stored.snapshot_version,
            )
        self.heads[head.stream] = head

    # The log

    async def stream(self, shard: int, stream: str) -> StoredStream | None:
        """See `store.LogStore`."""
        del shard
        return self.stored_stream(stream, whole=True)

    async def events_after(self, shard: int, seq: int, limit: int) -> list[StoredEvent]:
        """See `store.LogStore`."""
        log = self._log[shard]
        start = bisect.bisect_right(log, seq, key=lambda event: event.seq)
        return log[start : start + limit]

    async def read_outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.LogStore`."""
        return {found.command_id: found for _, each in ids if (found := self._outcomes.get(each)) is not None}

    async def purge(self, at: Instant) -> int:
        """See `store.LogStore`."""
        stale = [each for each in self._outcomes.values() if each.secret is not None and each.at <= at - SECRET_KEPT]
        self._outcomes |= {outcome.command_id: replace(outcome, secret=None) for outcome in stale}
        return len(stale) + self.forget_answers(at)

    # Erasure

    async def erase_again(self) -> int:
        """See `store.SecretStore`."""
        streams = {event.stream for log in self._log.values() for event in log if event.type == ERASING}
        self.claims = {place: claim for place, claim in self.claims.items() if claim.stream not in streams}
        return self.erase_keys([subject for stream in sorted(streams) for subject in subjects_of(stream)])

    # Dead letters

    async def dead_letters(self, *, state: str = "open", limit: int = 100) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        found = [letter for letter in self._dead_letters.values() if letter.state == state]
        oldest = sorted(found, key=lambda letter: (letter.at, *letter.place))[:limit]
        return [replace(letter, record=b"") for letter in oldest]

    async def dead_letter(self, shard: int, epoch: int, offset: int) -> DeadLetter | None:
        """See `store.DeadLetterStore`."""
        return self._dead_letters.get((shard, epoch, offset))

    async def set_aside(self, shard: int, stream: str, limit: int) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return self._set_aside(shard, stream)[:limit]

    async def count_set_aside(self, shard: int, stream: str) -> int:
        """See `store.DeadLetterStore`."""
        return len(self._set_aside(shard, stream))

    def _set_aside(self, shard: int, stream: str) -> list[DeadLetter]:
        wanted = (shard, stream, "quarantined", "open")
        letters = self._dead_letters.values()
        found = [each for each in letters if (each.shard, each.stream, each.reason, each.state) == wanted]
        return sorted(found, key=lambda letter: letter.place)

    async def quarantined(self) -> list[str]:
        """See `store.DeadLetterStore`."""
        return sorted(name for name, head in self.heads.items() if head.quarantined)

    async def close(self) -> None:
        """See `store.Store`."""
