"""`dead_letters`: records that could not be applied."""

from collections.abc import Sequence

from eventstore.postgres.pool import Part
from eventstore.postgres.statement import TableChange, columns
from eventstore.records import DeadLetter

WRITE = """
INSERT INTO dead_letters (shard, "offset", reason, detail, record, at, command_id, stream, state)
SELECT * FROM unnest(
    {0}::integer[], {1}::bigint[], {2}::text[], {3}::text[], {4}::bytea[], {5}::bigint[], {6}::text[], {7}::text[],
    {8}::text[]
)
ON CONFLICT (shard, "offset") DO UPDATE SET
    reason = excluded.reason,
    detail = excluded.detail,
    record = excluded.record,
    at = excluded.at,
    command_id = excluded.command_id,
    stream = excluded.stream,
    state = excluded.state
"""

LIST = """
SELECT shard, "offset", reason, detail, record, at, command_id, stream, state
FROM dead_letters
WHERE state = $1
ORDER BY at, shard, "offset"
LIMIT $2
"""

ONE = """
SELECT shard, "offset", reason, detail, record, at, command_id, stream, state
FROM dead_letters
WHERE shard = $1 AND "offset" = $2
"""

SET_ASIDE = """
SELECT shard, "offset", reason, detail, record, at, command_id, stream, state
FROM dead_letters
WHERE shard = $1 AND stream = $2 AND reason = 'quarantined' AND state = 'open'
ORDER BY "offset"
LIMIT $3
"""

MARK = """
UPDATE dead_letters SET state = $3 WHERE shard = $1 AND "offset" = $2 AND state = 'open' RETURNING 1
"""


def dead_letter_changes(letters: Sequence[DeadLetter]) -> list[TableChange]:
    """Writes dead letters; a record that is one already is replaced."""
    if not letters:
        return []
    last = list({(letter.shard, letter.offset): letter for letter in letters}.values())
    return [TableChange(name="dead_letters_written", sql=WRITE, arguments=columns(last, DeadLetter))]


class DeadLetters(Part):
    """See `store.DeadLetterStore`."""

    async def dead_letters(self, *, state: str = "open", limit: int = 100) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return [DeadLetter(**row) for row in await self._pool.fetch(LIST, state, limit)]

    async def dead_letter(self, shard: int, offset: int) -> DeadLetter | None:
        """See `store.DeadLetterStore`."""
        row = await self._pool.fetchrow(ONE, shard, offset)
        return None if row is None else DeadLetter(**row)

    async def set_aside(self, shard: int, stream: str, limit: int) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return [DeadLetter(**row) for row in await self._pool.fetch(SET_ASIDE, shard, stream, limit)]

    async def mark_dead_letter(self, shard: int, offset: int, state: str) -> bool:
        """See `store.DeadLetterStore`."""
        return await self._pool.fetchval(MARK, shard, offset, state) is not None
