"""Streams, their heads and claims, and the log that they are written into."""

from msgspec.structs import replace

from eventstore.memory.data_keys import DataKeys
from eventstore.records import Batch, ClaimRow, StoredEvent, StoredStream, StreamHead


class Streams(DataKeys):
    """See `store.LogStore`; and what rounds read and write."""

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
        for refusal in batch.refusals:
            self._refusals.setdefault((refusal.command_id, refusal.attempt), refusal)
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

    async def stream(self, shard: int, stream: str) -> StoredStream | None:
        """See `store.LogStore`."""
        del shard
        return self.stored_stream(stream, whole=True)

    async def head(self, shard: int, stream: str) -> StreamHead | None:
        """See `store.LogStore`."""
        del shard
        return self.heads.get(stream)

    async def stream_events(self, shard: int, stream: str, behind: int, limit: int) -> list[StoredEvent]:
        """See `store.LogStore`."""
        del shard
        return self._streams.get(stream, [])[behind : behind + limit]
