"""Rounds: what a worker writes is staged, and applied at the commit after the fence was checked once more."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from eventstore.errors import Unavailable, VersionConflict
from eventstore.memory.leases import Leases
from eventstore.memory.outcomes import Outcomes
from eventstore.memory.streams import Streams
from eventstore.records import Batch, ClaimRow, Lease, Outcome, ShardHead, StoredStream


class MemoryRound:
    """See `store.Round`."""

    def __init__(self, store: "Rounds", heads: Mapping[int, ShardHead]) -> None:
        self._store = store
        self.heads = heads
        self.ended = False
        """Set when somebody claims a shard that this round has locked: its transaction is gone."""
        self.failure: VersionConflict | None = None
        """A round in which a write failed cannot be committed, even if its caller goes on."""
        self._staged: list[Callable[[], None]] = []
        self._claims: dict[tuple[str, str], ClaimRow] = {}
        self._locked: list[ClaimRow] = []
        """Taken and freed by this round: nobody else may have come to hold them meanwhile."""

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
            if version != self._store.version(head.stream):
                self.failure = VersionConflict(head.stream)
                raise self.failure
        for claim in batch.claims_freed:
            taken = self._claims.get((claim.kind, claim.value))
            if taken is not None and taken.command_id == claim.command_id:
                del self._claims[claim.kind, claim.value]
                self._locked.append(claim)
        self.stage(lambda: self._store.apply(batch))

    def commit(self) -> None:
        """Applies what was staged; no step lies inside."""
        if self.failure is not None:
            raise self.failure
        taken = [*self._claims.values(), *self._locked]
        lost = [each for each in taken if self._store.holder((each.kind, each.value), each.stream)]
        if lost:
            raise VersionConflict(f"claims {lost}")
        self._store.claims.update(self._claims)
        for apply in self._staged:
            apply()


class RememberedMemoryRound(MemoryRound):
    """A round that was begun from memory: it has locked nothing, and finds out at its end whether that was right."""

    _batch = Batch()

    async def outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:  # noqa: ARG002  # not asked
        """See `store.Round`: taken to be none; an outcome that exists fails the commit."""
        return {}

    async def take_claims(self, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:  # noqa: ARG002  # never
        """See `store.Round`: a round from memory takes none."""
        raise AssertionError("claims are taken under the shards' locks")

    async def write(self, batch: Batch) -> None:
        """See `store.Round`."""
        self._batch = batch
        await super().write(batch)

    def commit(self) -> None:
        """Applies what was staged if all is as it was remembered; no step lies inside."""
        self._store.check_remembered(self.heads, self._batch)
        super().commit()


class Rounds(Leases, Streams, Outcomes):
    """See `store.ShardStore`."""

    @asynccontextmanager
    async def round(
        self, worker: str, leases: Sequence[Lease], remembered: Mapping[int, ShardHead] | None = None
    ) -> AsyncIterator[MemoryRound]:
        """See `store.ShardStore`."""
        if remembered is not None:
            begun = RememberedMemoryRound(self, remembered)
            yield begun
            await begun.step()
            begun.commit()
            self._prolong(leases)
            await self.pause()
            return
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

    def check_remembered(self, heads: Mapping[int, ShardHead], batch: Batch) -> None:
        """What the one statement of a round from memory finds out; a locked shard would make it wait."""
        if any(shard in self._locks for shard in heads):
            raise Unavailable("another transaction holds the shard")
        moved = [
            shard
            for shard, head in heads.items()
            if (found := self._shard_heads[shard]).owner != head.owner
            or (found.epoch, found.next_offset) != (head.epoch, head.next_offset)
        ]
        stale = [head.stream for version, head in batch.heads if version != self.version(head.stream)]
        known = [outcome.command_id for outcome in batch.outcomes if outcome.command_id in self._outcomes]
        if moved or stale or known:
            raise VersionConflict(f"not as remembered: shards {moved}, streams {stale}, commands {known}")

    def version(self, stream: str) -> int:
        """Of a stream as it is stored; 0 before its first event."""
        head = self.heads.get(stream)
        return head.version if head else 0
