"""Shards and who holds them; `clock` is to leases what Postgres's own clock is there."""

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from domain.instant import SECOND, Instant
from eventstore.errors import Fenced, Unavailable
from eventstore.memory.tables import Tables
from eventstore.records import Lease, ShardHead


class Leases(Tables):
    """See `store.ShardStore`."""

    async def shards(self) -> int:
        """See `store.ShardStore`."""
        return len(self._shard_heads)

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
