"""`outbox_positions` and `deliveries`: see `eventstore/outbox.py`."""

from collections.abc import Sequence

from domain.instant import Instant
from eventstore.outbox import WAITING_COUNTED, Backlog, Delivery, DeliveryState, Unread
from eventstore.postgres.events import stored_event
from eventstore.postgres.pool import Part
from eventstore.postgres.statement import columns
from eventstore.records import StoredEvent

BEGIN = """
INSERT INTO outbox_positions (reader, shard, seq) SELECT $1, shard, seq FROM shard_head
ON CONFLICT (reader, shard) DO NOTHING
"""

UNREAD = """
SELECT read.shard, read.seq AS position, head.seq AS "end", behind.waiting
FROM outbox_positions AS read
JOIN shard_head AS head USING (shard)
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT 1 FROM deliveries
        WHERE deliveries.target = $1 AND deliveries.shard = read.shard AND deliveries.state = 'waiting'
        LIMIT $3
    ) AS counted
) AS behind
WHERE read.reader = $1 AND read.shard = ANY ($2::integer[]) AND head.seq > read.seq
ORDER BY read.shard
"""

EVENTS = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata, mac
FROM events
WHERE shard = $1 AND seq > $2 AND seq <= $3 AND type = ANY ($4::text[])
ORDER BY seq
"""

_ROWS = """
SELECT * FROM unnest(
    {0}::text[], {1}::integer[], {2}::text[], {3}::bigint[], {4}::integer[], {5}::text[], {6}::text[], {7}::bytea[],
    {8}::bigint[], {9}::bigint[], {10}::text[], {11}::integer[], {12}::bigint[], {13}::text[], {14}::bigint[],
    {15}::text[]
)
"""
_COLUMNS = (
    "target, shard, account, seq, part, id, type, body, created_at, due_at, state, attempts, first_sent_at, "
    "claimed_by, claimed_until, problem"
)

# The position is the fence: whoever comes second finds it moved, waits for the first one's commit, and adds nothing.
ENQUEUE = f"""
WITH moved AS (
    UPDATE outbox_positions SET seq = $4 WHERE reader = $1 AND shard = $2 AND seq = $3 RETURNING 1
), added AS (
    INSERT INTO deliveries ({_COLUMNS})
    SELECT made.* FROM ({_ROWS.format(*(f"${number}" for number in range(5, 21)))}) AS made
    WHERE EXISTS (SELECT 1 FROM moved)
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM moved
"""  # noqa: S608  # no value is in it

AGAIN = f"""
INSERT INTO deliveries AS stored ({_COLUMNS}) {_ROWS.format(*(f"${number}" for number in range(1, 17)))}
ON CONFLICT (target, shard, account, seq, part) DO UPDATE SET
    state = 'waiting', attempts = 0, problem = '', created_at = excluded.created_at, due_at = excluded.due_at
WHERE stored.state = 'dead'
RETURNING 1
"""

# In the order of due times, so that it stops as soon as there are enough; LATERAL with LIMIT, so that the first of an
# account is looked up and not searched for (see `pool`). SKIP LOCKED and the look at the claim after the lock: two
# workers never take the same one.
CLAIM = f"""
WITH firsts AS (
    SELECT due.ctid FROM (
        SELECT ctid, target, shard, account, seq, part, due_at FROM deliveries
        WHERE target = $1 AND shard = ANY ($2::integer[]) AND state = 'waiting' AND due_at <= $3 AND claimed_until <= $3
        ORDER BY due_at
        OFFSET 0
    ) AS due
    CROSS JOIN LATERAL (
        SELECT seq, part FROM deliveries AS own
        WHERE own.target = due.target AND own.shard = due.shard AND own.account = due.account AND own.state = 'waiting'
        ORDER BY own.target, own.shard, own.account, own.seq, own.part
        LIMIT 1
    ) AS first
    WHERE first.seq = due.seq AND first.part = due.part
    ORDER BY due.due_at
    LIMIT $6
), free AS (
    SELECT deliveries.ctid FROM firsts JOIN deliveries ON deliveries.ctid = firsts.ctid
    WHERE state = 'waiting' AND claimed_until <= $3
    FOR UPDATE OF deliveries SKIP LOCKED
)
UPDATE deliveries AS claimed SET
    claimed_by = $5, claimed_until = $4, attempts = attempts + 1, first_sent_at = coalesce(first_sent_at, $3)
FROM free
WHERE claimed.ctid = free.ctid
RETURNING {", ".join(f"claimed.{name}" for name in _COLUMNS.split(", "))}
"""  # noqa: S608  # the same

_PLACE = "target = $1 AND shard = $2 AND account = $3 AND seq = $4 AND part = $5"

FINISH = f"DELETE FROM deliveries WHERE {_PLACE} AND claimed_by = $6 AND claimed_until = $7"  # noqa: S608  # the same

# The sum keeps the planner from the index by due time: those behind are found by their account.
POSTPONE = f"""
WITH failed AS (
    UPDATE deliveries SET
        state = $8, due_at = $9, first_sent_at = $10, problem = $11,
        claimed_by = '', claimed_until = 0
    WHERE {_PLACE} AND claimed_by = $6 AND claimed_until = $7
    RETURNING state
)
UPDATE deliveries AS behind SET due_at = $9
WHERE behind.target = $1 AND behind.shard = $2 AND behind.account = $3 AND (behind.seq, behind.part) > ($4, $5)
    AND behind.state = 'waiting' AND behind.due_at + 0 < $9
    AND EXISTS (SELECT 1 FROM failed WHERE failed.state = 'waiting')
"""  # noqa: S608  # the same

RELEASE = "UPDATE deliveries SET claimed_by = '', claimed_until = 0 WHERE state = 'waiting' AND claimed_by = $1"

BACKLOG = """
SELECT
    target,
    count(*) FILTER (WHERE state = 'waiting') AS waiting,
    count(*) FILTER (WHERE state = 'dead') AS dead,
    min(created_at) FILTER (WHERE state = 'waiting') AS oldest_at
FROM deliveries
GROUP BY target
ORDER BY target
"""

LIST = f"""
SELECT {_COLUMNS.replace("body", "''::bytea AS body")} FROM deliveries
WHERE state = $1
ORDER BY created_at, target, shard, seq, part
LIMIT $2
"""  # noqa: S608  # the same

REVIVE = """
UPDATE deliveries SET
    state = 'waiting', created_at = $2, due_at = $2,
    first_sent_at = CASE WHEN state = 'dead' THEN NULL ELSE first_sent_at END
WHERE CASE WHEN $1::text[] IS NULL THEN state = 'dead' ELSE id = ANY ($1) END
RETURNING 1
"""

DROP = """
DELETE FROM deliveries WHERE CASE WHEN $1::text[] IS NULL THEN state = 'dead' ELSE id = ANY ($1) END RETURNING 1
"""


class Outbox(Part):
    """See `outbox.OutboxStore`."""

    async def begin_reading(self, reader: str) -> None:
        """See `outbox.OutboxStore`."""
        await self._pool.fetch(BEGIN, reader)

    async def unread(self, reader: str, shards: Sequence[int]) -> list[Unread]:
        """See `outbox.OutboxStore`."""
        return [Unread(**row) for row in await self._pool.fetch(UNREAD, reader, list(shards), WAITING_COUNTED)]

    async def events_of(self, shard: int, after: int, until: int, types: Sequence[str]) -> list[StoredEvent]:
        """See `outbox.OutboxStore`."""
        return [stored_event(row) for row in await self._pool.fetch(EVENTS, shard, after, until, list(types))]

    async def enqueue(self, reader: str, shard: int, after: int, until: int, deliveries: Sequence[Delivery]) -> bool:
        """See `outbox.OutboxStore`."""
        return bool(await self._pool.fetchval(ENQUEUE, reader, shard, after, until, *columns(deliveries, Delivery)))

    async def enqueue_again(self, deliveries: Sequence[Delivery]) -> int:
        """See `outbox.OutboxStore`."""
        return len(await self._pool.fetch(AGAIN, *columns(deliveries, Delivery)))

    async def claim_deliveries(
        self, claimant: str, target: str, shards: Sequence[int], at: Instant, until: Instant, limit: int
    ) -> list[Delivery]:
        """See `outbox.OutboxStore`."""
        rows = await self._pool.fetch(CLAIM, target, list(shards), at, until, claimant, limit)
        return sorted((Delivery(**row) for row in rows), key=lambda each: (each.due_at, each.place))

    async def finish_delivery(self, delivery: Delivery) -> None:
        """See `outbox.OutboxStore`."""
        await self._pool.fetch(FINISH, *delivery.place, delivery.claimed_by, delivery.claimed_until)

    async def postpone_delivery(self, delivery: Delivery) -> None:
        """See `outbox.OutboxStore`."""
        became = (delivery.state, delivery.due_at, delivery.first_sent_at, delivery.problem)
        await self._pool.fetch(POSTPONE, *delivery.place, delivery.claimed_by, delivery.claimed_until, *became)

    async def release_deliveries(self, claimant: str) -> None:
        """See `outbox.OutboxStore`."""
        await self._pool.fetch(RELEASE, claimant)

    async def backlog(self) -> list[Backlog]:
        """See `outbox.OutboxStore`."""
        return [Backlog(**row) for row in await self._pool.fetch(BACKLOG)]

    async def deliveries(self, state: DeliveryState, limit: int) -> list[Delivery]:
        """See `outbox.OutboxStore`."""
        return [Delivery(**row) for row in await self._pool.fetch(LIST, state, limit)]

    async def revive_deliveries(self, ids: Sequence[str] | None, at: Instant) -> int:
        """See `outbox.OutboxStore`."""
        return len(await self._pool.fetch(REVIVE, None if ids is None else list(ids), at))

    async def drop_deliveries(self, ids: Sequence[str] | None) -> int:
        """See `outbox.OutboxStore`."""
        return len(await self._pool.fetch(DROP, None if ids is None else list(ids)))
