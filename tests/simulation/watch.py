"""A memory store that watches every commit: what must hold throughout is looked at where it could break."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from domain.instant import Instant
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch, Lease, Outcome, ShardHead
from projections import credits as credits_view
from projections.memory import MemoryDocuments


class Broken(AssertionError):
    """An invariant does not hold."""


class WatchedStore(MemoryStore):
    """See `MemoryStore`. `running` names the process whose step it is."""

    def __init__(
        self,
        shards: int,
        clock: Callable[[], Instant],
        pause: Callable[[], Awaitable[None]],
        running: Callable[[], str],
        documents: MemoryDocuments,
    ) -> None:
        super().__init__(shards, clock, pause)
        self._running = running
        self._documents = documents
        self.holders: dict[int, str | None] = {}
        """Who was last given each shard, written down apart from the fence."""
        self.committed: dict[int, list[Outcome]] = {shard: [] for shard in range(shards)}
        """Every outcome that was ever committed, in order."""
        self._fresh: Batch | None = None

    async def claim(self, worker: str, count: int, lease_s: float, shunned: Sequence[int] = ()) -> list[ShardHead]:
        """See `MemoryStore`."""
        heads = await super().claim(worker, count, lease_s, shunned)
        self.holders |= {head.shard: worker for head in heads}
        return heads

    async def give_back(self, worker: str, leases: Sequence[Lease]) -> None:
        """See `MemoryStore`."""
        await super().give_back(worker, leases)
        for head in await self.shard_heads():
            if head.owner is None:
                self.holders[head.shard] = None

    def apply(self, batch: Batch) -> None:
        """Checks a batch that is about to be committed."""
        self._check_owner(batch)
        self._check_places(batch)
        self._check_outcomes(batch)
        super().apply(batch)
        self._fresh = batch

    def _check_owner(self, batch: Batch) -> None:
        for each in batch.progress:
            holder = self.holders.get(each.shard)
            if holder != self._running():
                raise Broken(f"I3: {self._running()} commits to shard {each.shard}, which {holder} holds")

    def _check_places(self, batch: Batch) -> None:
        seqs = {shard: head.seq for shard, head in self._shard_heads.items()}
        versions = {head.stream: version for version, head in batch.heads}
        for event in batch.events:
            if event.seq != seqs[event.shard] + 1 or event.version != versions[event.stream] + 1:
                raise Broken(f"a gap at {event.stream} version {event.version}, seq {event.seq}")
            seqs[event.shard], versions[event.stream] = event.seq, event.version
        for _, stream in batch.heads:
            last = max((event.at for event in batch.events if event.stream == stream.stream), default=0)
            if stream.version != versions[stream.stream] or (stream.due_at is not None and stream.due_at <= last):
                raise Broken(f"the head of {stream.stream} is at {stream.version} and due at {stream.due_at}")
        for each in batch.progress:
            before = self._shard_heads[each.shard]
            if each.seq != seqs[each.shard] or each.next_offset <= before.next_offset:
                raise Broken(f"shard {each.shard} goes from {before} to {each}")

    def _check_outcomes(self, batch: Batch) -> None:
        known: dict[str, Outcome] = {}
        for outcome in batch.outcomes:
            before = known.get(outcome.command_id) or self._outcomes.get(outcome.command_id)
            if before is not None and not before.curable:
                raise Broken(f"I2: {outcome.command_id} had the final outcome {before.status}")
            known[outcome.command_id] = outcome
            self.committed[outcome.shard].append(outcome)

    def look(self) -> None:
        """Right after a commit: what its outcomes say is what every read sees (I4)."""
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            return
        said: dict[str, dict[str, Any]] = {}
        for outcome in fresh.outcomes:
            data = msgspec.json.decode(outcome.data)
            if outcome.status == "applied" and "balance" in data:
                said[outcome.stream] = data
            else:
                said.pop(outcome.stream, None)  # what was due may have moved the balance meanwhile
        for stream, data in said.items():
            view = self.credits_of(stream)
            seen = {"balance": view.balance, "held": view.held, "available": view.available, "debt": view.debt}
            if seen != {name: data[name] for name in seen}:
                raise Broken(f"I4: the outcome says {data}, the read model {seen}")
            if min(view.held, view.available, view.debt) < 0 or sum(g.remaining for g in view.grants) != view.balance:
                raise Broken(f"I6: {view}")

    def credits_of(self, stream: str) -> credits_view.CreditsView:
        """The credits of an account as any reader sees them now."""
        account_id = stream.partition(":")[2]
        found = self._documents._documents.get("credits", {}).get(account_id)
        if found is None or found.doc is None:
            return credits_view.CreditsView(account_id=account_id)
        return credits_view.PROJECTION.decode(found.doc)
