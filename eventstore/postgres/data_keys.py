"""`data_keys` and `lookup_key`: wrapped keys, outside the log so that they can be erased.

An erased key leaves a row with nothing in it: whoever comes late cannot make its subject another one.
"""

from collections.abc import Iterable, Sequence

from eventstore.erasure import CLOSING, INVITATION
from eventstore.errors import KeyErased
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import DirectConnection, Part
from eventstore.postgres.statement import TableChange
from eventstore.records import DataKey

READ = "SELECT subject, master_id, wrapped FROM data_keys WHERE subject = $1 AND wrapped <> ''"

READ_MANY = """
SELECT subject, master_id, wrapped FROM data_keys WHERE subject = ANY ($1::text[]) AND wrapped <> ''
"""

ADD = """
INSERT INTO data_keys (subject, master_id, wrapped) VALUES ($1, $2, $3)
ON CONFLICT (subject) DO NOTHING
RETURNING subject, master_id, wrapped
"""

REWRAP = "UPDATE data_keys SET master_id = $2, wrapped = $3 WHERE subject = $1 AND wrapped = $4"

ERASE = """
INSERT INTO data_keys (subject, master_id, wrapped) SELECT DISTINCT subject, '', ''::bytea
FROM unnest({0}::text[]) AS erased (subject)
ON CONFLICT (subject) DO UPDATE SET master_id = '', wrapped = ''
"""

# Of invitations there are as many keys as there are open ones; what ended one is in its organization's stream.
ENDED_INVITATIONS = f"""
    SELECT subject FROM data_keys
    WHERE subject >= '{INVITATION}' AND subject < '{INVITATION[:-1]};' AND wrapped <> '' AND EXISTS (
        SELECT FROM shard_head JOIN events USING (shard)
        WHERE events.stream = 'org:' || split_part(subject, ':', 2)
            AND events.type IN ({", ".join(f"'{tag}'" for tag in CLOSING)})
            AND position(convert_to(split_part(subject, ':', 3), 'UTF8') IN events.payload) > 0
    )
"""  # noqa: S608  # no value is in it

# See `eventstore.erasure`.
ERASE_AGAIN = f"""
WITH erased AS (
    SELECT stream AS subject FROM events WHERE type = 'user.erased'
    UNION
    SELECT 'account:' || substr(stream, 6) FROM events WHERE type = 'user.erased'
    UNION
    {ENDED_INVITATIONS}
), gone AS (
    UPDATE data_keys SET master_id = '', wrapped = '' FROM erased
    WHERE data_keys.subject = erased.subject AND data_keys.wrapped <> ''
    RETURNING 1
), barred AS (
    INSERT INTO data_keys (subject, master_id, wrapped) SELECT subject, '', ''::bytea FROM erased
    ON CONFLICT (subject) DO NOTHING
)
SELECT count(*) FROM gone
"""  # noqa: S608  # no value is in it

REVIVED = """
SELECT EXISTS (
    SELECT FROM events
    JOIN data_keys ON data_keys.subject IN (events.stream, 'account:' || substr(events.stream, 6))
    WHERE events.type = 'user.erased' AND data_keys.wrapped <> ''
)
"""

# Looks at all claims, and so only where a key has come back; before the keys, so that it is not forgotten half-way.
# What bars memberships (domain/erasure.py) is no secret, and stays.
RELEASE_AGAIN = """
DELETE FROM claims
WHERE kind <> 'memberships' AND stream IN (SELECT stream FROM events WHERE type = 'user.erased')
"""

READ_LOOKUP = "SELECT subject, master_id, wrapped FROM lookup_key"

ADD_LOOKUP = """
INSERT INTO lookup_key (subject, master_id, wrapped) VALUES ($1, $2, $3)
ON CONFLICT (single) DO NOTHING
RETURNING subject, master_id, wrapped
"""

REWRAP_LOOKUP = "UPDATE lookup_key SET master_id = $1, wrapped = $2 WHERE wrapped = $3"


def key_changes(erased: Sequence[str]) -> list[TableChange]:
    """Erases the keys of subjects, for good."""
    return [TableChange(name="keys_erased", sql=ERASE, arguments=[list(erased)])] if erased else []


async def erase_again(connection: DirectConnection) -> int:
    """See `store.SecretStore`; for an operator, on a connection of its own."""
    with translated():
        async with connection.transaction():
            if await connection.fetchval(REVIVED):
                await connection.execute(RELEASE_AGAIN)
            return int(await connection.fetchval(ERASE_AGAIN))


class DataKeys(Part):
    """The keys of `store.SecretStore`."""

    async def data_key(self, subject: str) -> DataKey | None:
        """See `store.SecretStore`."""
        row = await self._pool.fetchrow(READ, subject)
        return None if row is None else DataKey(**row)

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        """See `store.SecretStore`."""
        return {row["subject"]: DataKey(**row) for row in await self._pool.fetch(READ_MANY, list(subjects))}

    async def add_data_key(self, proposed: DataKey) -> DataKey:
        """See `store.SecretStore`."""
        row = await self._pool.fetchrow(ADD, proposed.subject, proposed.master_id, proposed.wrapped)
        row = row or await self._pool.fetchrow(READ, proposed.subject)
        if row is None:
            raise KeyErased(proposed.subject)
        return DataKey(**row)

    async def erase_again(self) -> int:
        """See `store.SecretStore`."""
        if await self._pool.fetchval(REVIVED):
            await self._pool.fetch(RELEASE_AGAIN)
        return int(await self._pool.fetchval(ERASE_AGAIN))

    async def rewrap_data_key(self, read: DataKey, key: DataKey) -> None:
        """See `store.SecretStore`."""
        await self._pool.fetch(REWRAP, key.subject, key.master_id, key.wrapped, read.wrapped)

    async def lookup_key(self, proposed: DataKey) -> DataKey:
        """See `store.SecretStore`."""
        row = await self._pool.fetchrow(READ_LOOKUP)
        row = row or await self._pool.fetchrow(ADD_LOOKUP, proposed.subject, proposed.master_id, proposed.wrapped)
        row = row or await self._pool.fetchrow(READ_LOOKUP)
        assert row is not None, "nothing ever deletes the lookup key"
        return DataKey(**row)

    async def rewrap_lookup_key(self, read: DataKey, key: DataKey) -> None:
        """See `store.SecretStore`."""
        await self._pool.fetch(REWRAP_LOOKUP, key.master_id, key.wrapped, read.wrapped)
