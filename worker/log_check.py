"""Whether a shard's log and the store still belong together, looked at on every claim (design, section 5)."""

from eventstore.codec import digest
from eventstore.records import ShardHead
from worker.source import CommandSource, LogUnavailable

MISMATCHES = ("store_restored", "log_recreated", "log_truncated")
"""How the reasons begin for which `adopt-log` is the remedy."""


async def mismatch(source: CommandSource, head: ShardHead) -> str | None:
    """Why the shard must not be applied, for the operator; `None` when all is well.

    `LogUnavailable` where it cannot be told: a record that should be there and did not come proves nothing.
    """
    bounds = await source.bounds(head.shard)
    if bounds.committed is not None and bounds.committed > head.next_offset:
        return (
            f"store_restored: the log was applied up to offset {bounds.committed}, but the store has only seen "
            f"{head.next_offset}; an older database was restored. Run `python -m worker adopt-log`."
        )
    if head.next_offset > bounds.end:
        return (
            f"log_recreated: the store expects offset {head.next_offset}, but the log ends at {bounds.end}; "
            "the topic was recreated. Run `python -m worker adopt-log`."
        )
    if head.next_offset < bounds.first:
        return (
            f"log_truncated: the store expects offset {head.next_offset}, but the log begins at {bounds.first}; "
            "commands were deleted before they were applied. Run `python -m worker adopt-log`."
        )
    if head.last_digest and head.next_offset > bounds.first:
        before = await source.read_one(head.shard, head.next_offset - 1)
        if before is None:
            raise LogUnavailable(f"shard {head.shard}: the record at offset {head.next_offset - 1} did not come")
        if digest(before.value) != head.last_digest:
            return (
                f"log_recreated: the record at offset {head.next_offset - 1} is not the one that was applied; "
                "the topic was recreated. Run `python -m worker adopt-log`."
            )
    return None
