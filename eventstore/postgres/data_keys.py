"""`data_keys` and `lookup_key`: wrapped keys, outside the log so that they can be erased."""

from eventstore.errors import VersionConflict
from eventstore.postgres.pool import Part
from eventstore.records import DataKey

READ = "SELECT subject, master_id, wrapped FROM data_keys WHERE subject = $1"

ADD = """
INSERT INTO data_keys (subject, master_id, wrapped) VALUES ($1, $2, $3)
ON CONFLICT (subject) DO NOTHING
RETURNING subject, master_id, wrapped
"""

REWRAP = "UPDATE data_keys SET master_id = $2, wrapped = $3 WHERE subject = $1 AND wrapped = $4"

READ_LOOKUP = "SELECT subject, master_id, wrapped FROM lookup_key"

ADD_LOOKUP = """
INSERT INTO lookup_key (subject, master_id, wrapped) VALUES ($1, $2, $3)
ON CONFLICT (single) DO NOTHING
RETURNING subject, master_id, wrapped
"""

REWRAP_LOOKUP = "UPDATE lookup_key SET master_id = $1, wrapped = $2 WHERE wrapped = $3"

_TRIES = 3


class DataKeys(Part):
    """The keys of `store.SecretStore`."""

    async def data_key(self, subject: str) -> DataKey | None:
        """See `store.SecretStore`."""
        row = await self._pool.fetchrow(READ, subject)
        return None if row is None else DataKey(**row)

    async def add_data_key(self, proposed: DataKey) -> DataKey:
        """See `store.SecretStore`."""
        for _ in range(_TRIES):
            row = await self._pool.fetchrow(ADD, proposed.subject, proposed.master_id, proposed.wrapped)
            row = row or await self._pool.fetchrow(READ, proposed.subject)
            if row is not None:
                return DataKey(**row)
        raise VersionConflict(f"the key of {proposed.subject} is being erased")

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
