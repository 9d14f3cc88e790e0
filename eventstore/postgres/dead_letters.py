"""`dead_letters`: records that could not be applied."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from eventstore.postgres.pool import Part
from eventstore.postgres.statement import TableChange, columns
from eventstore.records import DeadLetter, ShardHead

WRITE = """
INSERT INTO dead_letters (shard, "offset", reason, detail, record, at, command_id, stream, state, epoch)
SELECT * FROM unnest(
    {0}::integer[], {1}::bigint[], {2}::text[], {3}::text[], {4}::bytea[], {5}::bigint[], {6}::text[], {7}::text[],
    {8}::text[], {9}::bigint[]
)
ON CONFLICT (shard, epoch, "offset") DO UPDATE SET
    reason = excluded.reason,
    detail = excluded.detail,
    record = excluded.record,
    at = excluded.at,
    command_id = excluded.command_id,
    stream = excluded.stream,
    state = excluded.state
"""

LIST = """
SELECT shard, "offset", reason, detail, ''::bytea AS record, at, command_id, stream, state, epoch
FROM dead_letters
WHERE state = $1
ORDER BY at, shard, epoch, "offset"
LIMIT $2
"""

ONE = """
SELECT shard, "offset", reason, detail, record, at, command_id, stream, state, epoch
FROM dead_letters
WHERE shard = $1 AND epoch = $2 AND "offset" = $3
"""

SET_ASIDE = """
SELECT shard, "offset", reason, detail, record, at, command_id, stream, state, epoch
FROM dead_letters
WHERE shard = $1 AND stream = $2 AND reason = 'quarantined' AND state = 'open'
ORDER BY epoch, "offset"
LIMIT $3
"""

COUNT_SET_ASIDE = """
SELECT count(*) FROM dead_letters
WHERE shard = $1 AND stream = $2 AND reason = 'quarantined' AND state = 'open'
"""


def dead_letter_changes(letters: Sequence[DeadLetter], heads: Mapping[int, ShardHead]) -> list[TableChange]:
    """Writes dead letters; one that comes back from a repair is replaced, and a new one is of its shard's epoch."""
    if not letters:
        return []
    placed = [replace(each, epoch=each.epoch or heads[each.shard].epoch) for each in letters]
    last = list({letter.place: letter for letter in placed}.values())
    return [TableChange(name="dead_letters_written", sql=WRITE, arguments=columns(last, DeadLetter))]


class DeadLetters(Part):
    """See `store.DeadLetterStore`."""

    async def dead_letters(self, *, state: str = "open", limit: int = 100) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return [DeadLetter(**row) for row in await self._pool.fetch(LIST, state, limit)]

    async def dead_letter(self, shard: int, epoch: int, offset: int) -> DeadLetter | None:
        """See `store.DeadLetterStore`."""
        row = await self._pool.fetchrow(ONE, shard, epoch, offset)
        return None if row is None else DeadLetter(**row)

    async def set_aside(self, shard: int, stream: str, limit: int) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return [DeadLetter(**row) for row in await self._pool.fetch(SET_ASIDE, shard, stream, limit)]

    async def count_set_aside(self, shard: int, stream: str) -> int:
        """See `store.DeadLetterStore`."""
        return int(await self._pool.fetchval(COUNT_SET_ASIDE, shard, stream))
