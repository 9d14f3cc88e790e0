"""Whether a shard's log and the store still belong together, looked at on every claim."""

from msgspec import Struct

from eventstore.codec import digest
from eventstore.records import ShardHead
from worker.source import CommandSource, LogUnavailable

MISMATCHES = ("store_restored", "log_recreated", "log_truncated")
"""How the reasons begin for which `adopt-log` is the remedy."""
OUTGROWN = "log_recreated: another log has grown past offset"
"""How the reason begins that only a mark can tell: it stays until `adopt-log`, since marks are lost with a worker."""


class Mark(Struct, frozen=True, kw_only=True):
    """A record that was applied a while ago, under this claim of the shard.

    A recreated log that outgrows the old one before anybody looks is applied from the old one's end on. The last
    record is its own then, and only an earlier one tells that the records before it were passed over.
    """

    epoch: int
    offset: int
    digest: bytes


def mark_of(head: ShardHead) -> Mark | None:
    """The last record that was applied, if any was since the log was adopted."""
    if not head.last_digest:
        return None
    return Mark(epoch=head.epoch, offset=head.next_offset - 1, digest=head.last_digest)


async def mismatch(source: CommandSource, head: ShardHead, mark: Mark | None = None) -> str | None:
    """Why the shard must not be applied, for the operator; `None` when all is well.

    `LogUnavailable` where it cannot be told: a record that should be there and did not come proves nothing.
    """
    if (head.stopped or "").startswith(OUTGROWN):
        return head.stopped
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
    if (
        head.last_digest
        and head.next_offset > bounds.first
        and not await _holds(source, head.shard, head.next_offset - 1, head.last_digest)
    ):
        return (
            f"log_recreated: the record at offset {head.next_offset - 1} is not the one that was applied; "
            "the topic was recreated. Run `python -m worker adopt-log`."
        )
    if (
        mark is not None
        and mark.epoch == head.epoch
        and bounds.first <= mark.offset < head.next_offset - 1
        and not await _holds(source, head.shard, mark.offset, mark.digest)
    ):
        return (
            f"{OUTGROWN} {mark.offset}, where the record is not the one that was applied; the topic was recreated, "
            "and commands were passed over. Run `python -m worker adopt-log`."
        )
    return None


async def _holds(source: CommandSource, shard: int, offset: int, applied: bytes) -> bool:
    found = await source.read_one(shard, offset)
    if found is None:
        raise LogUnavailable(f"shard {shard}: the record at offset {offset} did not come")
    return digest(found.value) == applied
