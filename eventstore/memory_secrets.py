"""Keys and kept answers in memory: what lives outside the log."""

from collections.abc import Iterable

from domain.instant import Instant
from eventstore.errors import KeyErased
from eventstore.records import DataKey, KeptAnswer


class MemorySecrets:
    """See `store.SecretStore`."""

    def __init__(self) -> None:
        self._lookup_key: DataKey | None = None
        self._data_keys: dict[str, DataKey] = {}
        self._erased: set[str] = set()
        self._answers: dict[str, KeptAnswer] = {}

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

    async def keep_answer(self, answer: KeptAnswer) -> None:
        """See `store.SecretStore`."""
        self._answers.setdefault(answer.command_id, answer)

    async def kept_answer(self, shard: int, command_id: str) -> KeptAnswer | None:
        """See `store.SecretStore`."""
        del shard
        return self._answers.get(command_id)

    def forget_answers(self, at: Instant) -> int:
        """Deletes answers that expire by `at`; answers how many."""
        gone = [answer.command_id for answer in self._answers.values() if answer.expires_at <= at]
        for command_id in gone:
            del self._answers[command_id]
        return len(gone)
