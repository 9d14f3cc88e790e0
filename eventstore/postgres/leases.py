"""`shard_head` and `workers`: who owns which shard, by this database's clock."""

import asyncio
import contextlib
from collections.abc import Sequence

import asyncpg

from eventstore.errors import Fenced, StoreError
from eventstore.postgres.pool import WORKER, Part
from eventstore.records import Lease, ShardHead

ANNOUNCE = """
WITH announced AS (
    INSERT INTO workers (worker, alive_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (worker) DO UPDATE SET alive_until = excluded.alive_until
), gone AS (
    DELETE FROM workers WHERE worker IN (
        SELECT worker FROM workers
        WHERE alive_until < clock_timestamp() - interval '1 minute' AND worker <> $1
        FOR UPDATE SKIP LOCKED
    )
)
SELECT 1 + count(*) FROM workers WHERE alive_until > clock_timestamp() AND worker <> $1
"""

RETIRE = """
WITH gone AS (
    DELETE FROM workers WHERE worker = $1
), mine AS (
    SELECT shard FROM shard_head WHERE owner = $1 ORDER BY shard FOR UPDATE
)
UPDATE shard_head SET owner = NULL FROM mine WHERE shard_head.shard = mine.shard
"""

CLAIM = """
WITH free AS (
    SELECT shard FROM shard_head
    WHERE (owner IS NULL OR lease_until <= clock_timestamp()) AND shard <> ALL ($4::integer[])
    ORDER BY shard
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE shard_head AS head SET
    owner = $1,
    epoch = epoch + 1,
    lease_s = $3,
    lease_until = clock_timestamp() + make_interval(secs => $3)
FROM free
WHERE head.shard = free.shard
RETURNING head.shard, owner, epoch, next_offset, seq, last_digest, stopped, adopt_until
"""

# In any order: one that cannot be had must not stand before the others each time.
FREE_BUT_LOCKED = """
SELECT shard FROM shard_head
WHERE (owner IS NULL OR lease_until <= clock_timestamp()) AND shard <> ALL ($2::integer[])
ORDER BY random()
LIMIT $1
"""

# Waits for whoever holds the row. If that one renews or claims it in the end, it is not free any more.
CLAIM_ONE = """
UPDATE shard_head SET
    owner = $1,
    epoch = epoch + 1,
    lease_s = $3,
    lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE shard = $2 AND (owner IS NULL OR lease_until <= clock_timestamp())
RETURNING shard, owner, epoch, next_offset, seq, last_digest, stopped, adopt_until
"""

# Of workers alone, only while the lease is over, not of one who is itself waiting for somebody, and only of those that
# stood in the way at the look before: who has just got the row is about to commit.
END_BLOCKERS = """
SELECT activity.pid, CASE WHEN activity.pid = ANY ($4::integer[]) THEN pg_terminate_backend(activity.pid) END
FROM shard_head, pg_stat_activity AS activity
WHERE shard_head.shard = $2
    AND (owner IS NULL OR lease_until <= clock_timestamp())
    AND activity.pid = ANY (pg_blocking_pids($1))
    AND activity.application_name = $3
    AND activity.wait_event_type IS DISTINCT FROM 'Lock'
"""

SEIZE = """
UPDATE shard_head SET
    owner = $1,
    epoch = epoch + 1,
    lease_s = $3,
    lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE shard = $2
RETURNING shard, owner, epoch, next_offset, seq, last_digest, stopped, adopt_until
"""

# A shard that a round of ours has locked is passed over: its commit renews it.
RENEW = """
WITH leases AS (
    SELECT * FROM unnest($2::integer[], $3::bigint[]) AS lease (shard, epoch)
), mine AS (
    SELECT head.shard FROM shard_head AS head JOIN leases USING (shard, epoch)
    WHERE owner = $1
    ORDER BY head.shard
    FOR UPDATE OF head SKIP LOCKED
), renewed AS (
    UPDATE shard_head SET lease_s = $4, lease_until = clock_timestamp() + make_interval(secs => $4)
    FROM mine
    WHERE shard_head.shard = mine.shard
)
SELECT leases.shard FROM leases LEFT JOIN shard_head AS head USING (shard)
WHERE head.owner IS DISTINCT FROM $1 OR head.epoch <> leases.epoch
"""

GIVE_BACK = """
WITH mine AS (
    SELECT head.shard FROM shard_head AS head
    JOIN unnest($2::integer[], $3::bigint[]) AS lease (shard, epoch) USING (shard, epoch)
    WHERE owner = $1
    ORDER BY head.shard
    FOR UPDATE OF head
)
UPDATE shard_head SET owner = NULL FROM mine WHERE shard_head.shard = mine.shard
"""

ALL = "SELECT shard, owner, epoch, next_offset, seq, last_digest, stopped, adopt_until FROM shard_head ORDER BY shard"

STOP = """
UPDATE shard_head SET stopped = $4 WHERE shard = $1 AND owner = $2 AND epoch = $3 RETURNING 1
"""

ADOPT = """
UPDATE shard_head SET
    owner = NULL,
    epoch = epoch + 1,
    next_offset = $2,
    last_digest = '',
    stopped = NULL,
    adopt_until = $3
WHERE shard = $1
"""

WAIT_S_MAX = 2.0
"""A claim does not turn to another locked shard after this; the next claim does."""

LOOK_S = 0.1
"""How often a claim looks at who holds the row; at the second look that backend is ended."""


class Leases(Part):
    """The leases of `store.ShardStore`."""

    async def announce(self, worker: str, lease_s: float) -> int:
        """See `store.ShardStore`."""
        return int(await self._pool.fetchval(ANNOUNCE, worker, lease_s))

    async def retire(self, worker: str) -> None:
        """See `store.ShardStore`."""
        await self._pool.fetch(RETIRE, worker)

    async def claim(self, worker: str, count: int, lease_s: float, shunned: Sequence[int] = ()) -> list[ShardHead]:
        """See `store.ShardStore`."""
        claimed = [ShardHead(**row) for row in await self._pool.fetch(CLAIM, worker, count, lease_s, list(shunned))]
        if len(claimed) < count:
            time = asyncio.get_running_loop().time
            deadline = time() + WAIT_S_MAX
            # What was claimed before is ours, whatever becomes of the others.
            with contextlib.suppress(StoreError):
                for row in await self._pool.fetch(FREE_BUT_LOCKED, count - len(claimed), list(shunned)):
                    if time() < deadline:
                        claimed += await self._wrest(worker, row["shard"], lease_s)
        return sorted(claimed, key=lambda head: head.shard)

    async def _wrest(self, worker: str, shard: int, lease_s: float) -> list[ShardHead]:
        """Claims a shard whose row is locked: waits, and ends the backend that holds it past its lease."""
        async with self._pool.connection() as connection:
            claiming = asyncio.create_task(connection.fetch(CLAIM_ONE, worker, shard, lease_s))
            try:
                blockers: list[int] = []
                while not (await asyncio.wait({claiming}, timeout=LOOK_S))[0]:
                    looked = connection.get_server_pid(), shard, WORKER, blockers
                    blockers = [row["pid"] for row in await self._pool.fetch(END_BLOCKERS, *looked)]
                with contextlib.suppress(asyncpg.LockNotAvailableError):
                    return [ShardHead(**row) for row in await claiming]
            finally:
                claiming.cancel()
                with contextlib.suppress(asyncio.CancelledError, asyncpg.PostgresError):
                    await claiming
        return []

    async def seize(self, worker: str, shard: int, lease_s: float) -> ShardHead:
        """See `store.ShardStore`."""
        row = await self._pool.fetchrow(SEIZE, worker, shard, lease_s)
        assert row is not None, "every shard has a head from the first migration on"
        return ShardHead(**row)

    async def renew(self, worker: str, leases: Sequence[Lease], lease_s: float) -> None:
        """See `store.ShardStore`."""
        lost = await self._pool.fetch(RENEW, worker, *_columns(leases), lease_s)
        if lost:
            raise Fenced(row["shard"] for row in lost)

    async def give_back(self, worker: str, leases: Sequence[Lease]) -> None:
        """See `store.ShardStore`."""
        await self._pool.fetch(GIVE_BACK, worker, *_columns(leases))

    async def stop_shard(self, worker: str, lease: Lease, reason: str | None) -> None:
        """See `store.ShardStore`."""
        if not await self._pool.fetch(STOP, lease.shard, worker, lease.epoch, reason):
            raise Fenced([lease.shard])

    async def adopt(self, shard: int, next_offset: int, adopt_until: int) -> None:
        """See `store.ShardStore`."""
        await self._pool.fetch(ADOPT, shard, next_offset, adopt_until)

    async def shard_heads(self) -> list[ShardHead]:
        """See `store.ShardStore`."""
        return [ShardHead(**row) for row in await self._pool.fetch(ALL)]


def _columns(leases: Sequence[Lease]) -> tuple[list[int], list[int]]:
    return [lease.shard for lease in leases], [lease.epoch for lease in leases]
