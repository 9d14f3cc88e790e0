"""`refusals`: commands that were refused, for audit trails."""

from collections.abc import Sequence

from domain.instant import Instant
from eventstore.postgres.pool import Part
from eventstore.postgres.statement import TableChange, columns
from eventstore.records import Refusal

ADD = """
INSERT INTO refusals (shard, command_id, attempt, account, at, command, code, actor, mac)
SELECT * FROM unnest(
    {0}::integer[], {1}::text[], {2}::text[], {3}::text[], {4}::bigint[], {5}::text[], {6}::text[], {7}::bytea[],
    {8}::bytea[]
)
ON CONFLICT (shard, command_id, attempt) DO NOTHING
"""

# By command id alone among those of one instant: two attempts at one command are never refused at once.
READ = """
SELECT shard, command_id, attempt, account, at, command, code, actor, mac
FROM refusals
WHERE account = $1 AND (at, command_id) < ($3, $4)
ORDER BY at DESC, command_id DESC, attempt DESC
LIMIT $2
"""

LATEST = (2**63 - 1, "")


def refusal_changes(refusals: Sequence[Refusal]) -> list[TableChange]:
    """Adds refusals; nothing for a round without any, as nearly all are."""
    if not refusals:
        return []
    return [TableChange(name="refusals_added", sql=ADD, arguments=columns(refusals, Refusal))]


class Refusals(Part):
    """See `store.LogStore`."""

    async def refusals(self, account: str, *, limit: int, after: tuple[Instant, str] | None = None) -> list[Refusal]:
        """See `store.LogStore`."""
        return [Refusal(**row) for row in await self._pool.fetch(READ, account, limit, *(after or LATEST))]
