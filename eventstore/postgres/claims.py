"""`claims`: values that one stream alone may hold."""

from collections.abc import Sequence

from eventstore.postgres.statement import TableChange, columns
from eventstore.postgres.streams import Reader
from eventstore.records import ClaimRow

# Waits for another transaction that is taking the same value; the order given keeps two such from embracing.
TAKE = """
INSERT INTO claims (kind, value, shard, stream, command_id)
SELECT kind, value, shard, stream, command_id
FROM unnest($1::text[], $2::text[], $3::integer[], $4::text[], $5::text[])
    WITH ORDINALITY AS wanted (kind, value, shard, stream, command_id, place)
ORDER BY place
ON CONFLICT (kind, value) DO NOTHING
RETURNING kind, value, shard, stream, command_id
"""

# A statement of its own: only that sees what the one before had to wait for.
LOST = """
SELECT held.kind, held.value
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (kind, value, stream)
JOIN claims AS held ON held.kind = wanted.kind AND held.value = wanted.value
WHERE held.stream <> wanted.stream
"""

FREE = """
DELETE FROM claims
USING unnest({0}::text[], {1}::text[], {2}::text[]) AS freed (kind, value, command_id)
WHERE claims.kind = freed.kind AND claims.value = freed.value AND claims.command_id = freed.command_id
"""

RELEASE = """
DELETE FROM claims
USING unnest({0}::text[], {1}::text[], {2}::text[]) AS released (kind, value, stream)
WHERE claims.kind = released.kind AND claims.value = released.value AND claims.stream = released.stream
"""


async def take_claims(reader: Reader, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:
    """See `store.Round`."""
    if not claims:
        return set()
    taken = {ClaimRow(**row) for row in await reader.fetch(TAKE, *columns(claims, ClaimRow))}
    missed = [claim for claim in claims if claim not in taken]
    if not missed:
        return set()
    rows = await reader.fetch(
        LOST,
        [claim.kind for claim in missed],
        [claim.value for claim in missed],
        [claim.stream for claim in missed],
    )
    return {(row["kind"], row["value"]) for row in rows}


def claim_changes(freed: Sequence[ClaimRow]) -> list[TableChange]:
    """Frees claims that the commands have taken which are named."""
    if not freed:
        return []
    arguments = [
        [claim.kind for claim in freed],
        [claim.value for claim in freed],
        [claim.command_id for claim in freed],
    ]
    return [TableChange(name="claims_freed", sql=FREE, arguments=arguments)]


def release_changes(released: Sequence[ClaimRow]) -> list[TableChange]:
    """Gives up claims that their own streams hold."""
    if not released:
        return []
    arguments = [
        [claim.kind for claim in released],
        [claim.value for claim in released],
        [claim.stream for claim in released],
    ]
    return [TableChange(name="claims_released", sql=RELEASE, arguments=arguments)]
