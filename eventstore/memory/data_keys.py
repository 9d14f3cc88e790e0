"""Keys outside the log, so that they can be erased."""

from collections.abc import Iterable

from domain.erasure import MEMBERSHIPS
from eventstore.erasure import CLOSING, ERASING, INVITATION, subjects_of
from eventstore.errors import KeyErased
from eventstore.memory.tables import Tables
from eventstore.records import DataKey


class DataKeys(Tables):
    """See `store.SecretStore`."""

    async def lookup_key(self, proposed: DataKey) -> DataKey:
        """See `store.SecretStore`."""
        self._lookup_key = self._lookup_key or proposed
        return self._lookup_key

    def erase_keys(self, subjects: Iterable[str]) -> int:
        """Deletes keys and refuses other ones for ever; answers how many there were."""
        gone = [subject for subject in subjects if self._data_keys.pop(subject, None) is not None]
        self._erased.update(subjects)
        return len(gone)

    async def data_key(self, subject: str) -> DataKey | None:
        """See `store.SecretStore`."""
        return self._data_keys.get(subject)

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        """See `store.SecretStore`."""
        return {subject: self._data_keys[subject] for subject in subjects if subject in self._data_keys}

    async def add_data_key(self, proposed: DataKey) -> DataKey:
        """See `store.SecretStore`."""
        if proposed.subject in self._erased:
            raise KeyErased(proposed.subject)
        return self._data_keys.setdefault(proposed.subject, proposed)

    async def rewrap_data_key(self, read: DataKey, key: DataKey) -> None:
        """See `store.SecretStore`."""
        if self._data_keys.get(key.subject) == read:
            self._data_keys[key.subject] = key

    async def rewrap_lookup_key(self, read: DataKey, key: DataKey) -> None:
        """See `store.SecretStore`."""
        if self._lookup_key == read:
            self._lookup_key = key

    async def erase_again(self) -> int:
        """See `store.SecretStore`."""
        streams = {event.stream for log in self._log.values() for event in log if event.type == ERASING}
        kept = {at: each for at, each in self.claims.items() if each.kind == MEMBERSHIPS or each.stream not in streams}
        self.claims = kept
        closed = [subject for subject in self._data_keys if subject.startswith(INVITATION) and self._ended(subject)]
        return self.erase_keys([*(subject for stream in sorted(streams) for subject in subjects_of(stream)), *closed])

    def _ended(self, subject: str) -> bool:
        """Whether an event took this key of an invitation along."""
        _, org_id, invitation_id = subject.split(":")
        return any(
            event.stream == f"org:{org_id}" and event.type in CLOSING and invitation_id.encode() in event.payload
            for log in self._log.values()
            for event in log
        )
