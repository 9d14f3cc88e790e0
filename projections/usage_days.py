"""Usage by day (UTC), and the query that adds whole days to the quarter hours at a period's edges."""

from domain.instant import DAY, Instant
from projections import usage_quarters
from projections.documents import DocumentReader
from projections.usage import UsageBucket, bucket_projection, read_buckets

PROJECTION = bucket_projection("usage_days", DAY)


async def usage_between(
    documents: DocumentReader, shards: int, account_id: str, start: Instant, end: Instant
) -> list[UsageBucket]:
    """All buckets from `start` to `end`, exact to the quarter of an hour, reading whole days where it can."""
    first_day, last_day = -(-start // DAY) * DAY, end // DAY * DAY
    if first_day >= last_day:
        return await read_buckets(documents, usage_quarters.PROJECTION, shards, account_id, start, end)
    return [
        *await read_buckets(documents, usage_quarters.PROJECTION, shards, account_id, start, first_day),
        *await read_buckets(documents, PROJECTION, shards, account_id, first_day, last_day),
        *await read_buckets(documents, usage_quarters.PROJECTION, shards, account_id, last_day, end),
    ]
