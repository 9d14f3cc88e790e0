"""Positions of readers and deliveries to the outside."""

import bisect
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from domain.instant import Instant
from eventstore.memory.tables import Tables
from eventstore.outbox import WAITING_COUNTED, Backlog, Delivery, DeliveryState, Unread
from eventstore.records import StoredEvent


class Outbox(Tables):
    """See `outbox.OutboxStore`."""

    async def begin_reading(self, reader: str) -> None:
        """See `outbox.OutboxStore`."""
        for shard, head in self._shard_heads.items():
            self._outbox_positions.setdefault((reader, shard), head.seq)

    async def unread(self, reader: str, shards: Sequence[int]) -> list[Unread]:
        """See `outbox.OutboxStore`."""
        waiting = Counter(
            each.shard for each in self._deliveries.values() if each.target == reader and each.state == "waiting"
        )
        found = (
            Unread(
                shard=shard,
                position=self._outbox_positions[reader, shard],
                end=self._shard_heads[shard].seq,
                waiting=min(waiting[shard], WAITING_COUNTED),
            )
            for shard in sorted(shards)
            if (reader, shard) in self._outbox_positions
        )
        return [each for each in found if each.end > each.position]

    async def events_of(self, shard: int, after: int, until: int, types: Sequence[str]) -> list[StoredEvent]:
        """See `outbox.OutboxStore`."""
        log = self._log[shard]
        first, last = (bisect.bisect_right(log, seq, key=lambda event: event.seq) for seq in (after, until))
        return [event for event in log[first:last] if event.type in types]

    async def enqueue(self, reader: str, shard: int, after: int, until: int, deliveries: Sequence[Delivery]) -> bool:
        """See `outbox.OutboxStore`."""
        await self.pause()
        if self._outbox_positions.get((reader, shard)) != after:
            return False
        self._outbox_positions[reader, shard] = until
        for each in deliveries:
            self._deliveries.setdefault(each.place, each)
        await self.pause()  # it is done, but the answer may still be lost
        return True

    async def enqueue_again(self, deliveries: Sequence[Delivery]) -> int:
        """See `outbox.OutboxStore`."""
        added = 0
        for each in deliveries:
            stored = self._deliveries.get(each.place)
            if stored is None:
                self._deliveries[each.place] = each
            elif stored.state == "dead":
                self._deliveries[each.place] = replace(
                    stored,
                    state="waiting",
                    attempts=0,
                    problem="",
                    created_at=each.created_at,
                    due_at=each.due_at,
                )
            else:
                continue
            added += 1
        return added

    async def claim_deliveries(
        self, claimant: str, target: str, shards: Sequence[int], at: Instant, until: Instant, limit: int
    ) -> list[Delivery]:
        """See `outbox.OutboxStore`."""
        await self.pause()
        firsts: dict[tuple[int, str], Delivery] = {}
        for each in sorted(self._deliveries.values(), key=lambda delivery: delivery.place):
            if each.target == target and each.shard in shards and each.state == "waiting":
                firsts.setdefault((each.shard, each.account), each)
        due = [each for each in firsts.values() if each.due_at <= at and each.claimed_until <= at]
        claimed = [
            replace(
                each,
                claimed_by=claimant,
                claimed_until=until,
                attempts=each.attempts + 1,
                first_sent_at=at if each.first_sent_at is None else each.first_sent_at,
            )
            for each in sorted(due, key=lambda delivery: (delivery.due_at, delivery.shard, delivery.seq))[:limit]
        ]
        self._deliveries |= {each.place: each for each in claimed}
        await self.pause()
        return sorted(claimed, key=lambda each: (each.due_at, each.place))

    async def finish_delivery(self, delivery: Delivery) -> None:
        """See `outbox.OutboxStore`."""
        await self.pause()
        if self._is_claimed(delivery):
            del self._deliveries[delivery.place]

    async def postpone_delivery(self, delivery: Delivery) -> None:
        """See `outbox.OutboxStore`."""
        await self.pause()
        if not self._is_claimed(delivery):
            return
        self._deliveries[delivery.place] = replace(delivery, claimed_by="", claimed_until=0)
        if delivery.state != "waiting":
            return
        for place, each in self._deliveries.items():
            if place[:3] == delivery.place[:3] and place[3:] > delivery.place[3:] and each.state == "waiting":
                self._deliveries[place] = replace(each, due_at=max(each.due_at, delivery.due_at))

    def _is_claimed(self, delivery: Delivery) -> bool:
        stored = self._deliveries.get(delivery.place)
        mine = (delivery.claimed_by, delivery.claimed_until)
        return stored is not None and (stored.claimed_by, stored.claimed_until) == mine

    async def release_deliveries(self, claimant: str) -> None:
        """See `outbox.OutboxStore`."""
        self._change(
            lambda each: each.state == "waiting" and each.claimed_by == claimant,
            lambda each: replace(each, claimed_by="", claimed_until=0),
        )

    async def backlog(self) -> list[Backlog]:
        """See `outbox.OutboxStore`."""
        by_target: dict[str, list[Delivery]] = {}
        for each in self._deliveries.values():
            by_target.setdefault(each.target, []).append(each)
        return [_backlog(target, by_target[target]) for target in sorted(by_target)]

    async def deliveries(self, state: DeliveryState, limit: int) -> list[Delivery]:
        """See `outbox.OutboxStore`."""
        found = [each for each in self._deliveries.values() if each.state == state]
        found.sort(key=lambda each: (each.created_at, each.target, each.shard, each.seq, each.part))
        return [replace(each, body=b"") for each in found[:limit]]

    async def revive_deliveries(self, ids: Sequence[str] | None, at: Instant) -> int:
        """See `outbox.OutboxStore`."""
        return self._change(
            lambda each: each.state == "dead" if ids is None else each.id in ids,
            lambda each: replace(
                each,
                state="waiting",
                created_at=at,
                due_at=at,
                first_sent_at=None if each.state == "dead" else each.first_sent_at,
            ),
        )

    async def drop_deliveries(self, ids: Sequence[str] | None) -> int:
        """See `outbox.OutboxStore`."""
        return self._change(lambda each: each.state == "dead" if ids is None else each.id in ids, lambda _: None)

    def _change(self, chosen: Callable[[Delivery], bool], change: Callable[[Delivery], Delivery | None]) -> int:
        found = [each for each in self._deliveries.values() if chosen(each)]
        for each in found:
            changed = change(each)
            if changed is None:
                del self._deliveries[each.place]
            else:
                self._deliveries[each.place] = changed
        return len(found)


def _backlog(target: str, found: Sequence[Delivery]) -> Backlog:
    waiting = [each for each in found if each.state == "waiting"]
    return Backlog(
        target=target,
        waiting=len(waiting),
        dead=len(found) - len(waiting),
        oldest_at=min((each.created_at for each in waiting), default=None),
    )
