"""`outcomes`: what became of each command."""

from collections.abc import Iterable, Sequence

from asyncpg import Record
from msgspec import Raw

from domain.instant import Instant
from eventstore.postgres.pool import Part
from eventstore.postgres.statement import TableChange
from eventstore.postgres.streams import Reader
from eventstore.postgres.texts import joined, text_of, unnested
from eventstore.records import SECRET_KEPT, Outcome

# LATERAL with LIMIT: see `pool`, on plans made while a table was small.
READ = f"""
SELECT outcome.*
FROM {unnested(2)} AS wanted (shard, command_id)
CROSS JOIN LATERAL (
    SELECT shard, command_id, status, attempt, stream, at, fingerprint, data, secret, refused, curable
    FROM outcomes
    WHERE outcomes.shard = wanted.shard::integer AND outcomes.command_id = wanted.command_id
    LIMIT 1
) AS outcome
""".format(*(f"${number}::text" for number in range(1, 5)))  # noqa: S608  # no value is in it

# Refused attempts are handed over as an array in PostgreSQL's own notation; data is JSON, and so UTF-8.
WRITE_FIRST = f"""
INSERT INTO outcomes
    (shard, command_id, status, attempt, stream, at, fingerprint, data, secret, refused, curable)
SELECT
    shard::integer, command_id, status, attempt, stream, at::bigint, fingerprint, convert_to(data, 'UTF8'), secret,
    refused::text[], curable::boolean
FROM {unnested(11)}
    AS new (shard, command_id, status, attempt, stream, at, fingerprint, data, secret, refused, curable)
"""  # noqa: S608  # no value is in it

WRITE = f"""{WRITE_FIRST}
ON CONFLICT (shard, command_id) DO UPDATE SET
    status = excluded.status,
    attempt = excluded.attempt,
    stream = excluded.stream,
    at = excluded.at,
    fingerprint = excluded.fingerprint,
    data = excluded.data,
    secret = excluded.secret,
    refused = excluded.refused,
    curable = excluded.curable
"""

FORGET_SECRETS = """
WITH stale AS (
    SELECT shard, command_id FROM outcomes
    WHERE secret IS NOT NULL AND at <= $1
    ORDER BY at
    LIMIT $2
)
UPDATE outcomes SET secret = NULL
FROM stale
WHERE outcomes.shard = stale.shard AND outcomes.command_id = stale.command_id AND secret IS NOT NULL
RETURNING 1
"""

PURGED_AT_ONCE = 1_000
"""Rows that one statement of a purge changes, so that none takes long."""


async def read_outcomes(reader: Reader, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
    """The outcomes that exist, by command id."""
    wanted = list(ids)
    if not wanted:
        return {}
    columns = [[str(shard) for shard, _ in wanted], [command_id for _, command_id in wanted]]
    rows = await reader.fetch(READ, *joined(columns))
    return {row["command_id"]: _outcome(row) for row in rows}


def _outcome(row: Record) -> Outcome:
    shard, command_id, status, attempt, stream, at, fingerprint, data, secret, refused, curable = row
    return Outcome(
        shard=shard,
        command_id=command_id,
        status=status,
        attempt=attempt,
        stream=stream,
        at=at,
        fingerprint=fingerprint,
        data=Raw(data),
        secret=secret,
        refused=tuple(refused),
        curable=curable,
    )


def outcome_changes(outcomes: Sequence[Outcome]) -> list[TableChange]:
    """Writes outcomes; one replaces what the command had, and of several for a command the last stays."""
    return _changes(outcomes, WRITE)


def first_outcome_changes(outcomes: Sequence[Outcome]) -> list[TableChange]:
    """Writes the first outcomes of their commands: a unique violation where there is one already."""
    return _changes(outcomes, WRITE_FIRST)


def _changes(outcomes: Sequence[Outcome], sql: str) -> list[TableChange]:
    if not outcomes:
        return []
    last = list({(outcome.shard, outcome.command_id): outcome for outcome in outcomes}.values())
    columns: list[Sequence[str | None]] = [
        [str(outcome.shard) for outcome in last],
        [outcome.command_id for outcome in last],
        [outcome.status for outcome in last],
        [outcome.attempt for outcome in last],
        [outcome.stream for outcome in last],
        [str(outcome.at) for outcome in last],
        [outcome.fingerprint for outcome in last],
        [text_of(bytes(outcome.data)) for outcome in last],
        [outcome.secret for outcome in last],
        [_array(outcome.refused) for outcome in last],
        [str(outcome.curable) for outcome in last],
    ]
    return [TableChange(name="outcomes_written", sql=sql, arguments=joined(columns))]


def _array(texts: Sequence[str]) -> str:
    """A `text[]` in PostgreSQL's notation (its documentation, 8.15.6)."""
    if not texts:
        return "{}"
    quoted = ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return "{" + ",".join(quoted) + "}"


class Outcomes(Part):
    """Outcomes as they are read outside a round."""

    async def read_outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.LogStore`."""
        return await read_outcomes(self._pool, ids)

    async def forget_secrets(self, at: Instant) -> int:
        """Removes secrets that were shown 24 hours before `at`, a bounded number at a time; answers how many."""
        forgotten = 0
        while rows := await self._pool.fetch(FORGET_SECRETS, at - SECRET_KEPT, PURGED_AT_ONCE):
            forgotten += len(rows)
        return forgotten
