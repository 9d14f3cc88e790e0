"""What a worker writes, batch by batch, as it was written: the ceiling replays it without deciding anything."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from eventstore.clock import system_clock
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch
from eventstore.store import Round
from projections.documents import Change
from projections.memory import MemoryDocuments


class Written(Struct, kw_only=True):
    """The rows of one transaction."""

    batch: Batch
    documents: Mapping[str, Sequence[Change]] = field(default_factory=dict)

    @property
    def commands(self) -> int:
        """How many commands it applied: each has an outcome."""
        return len(self.batch.outcomes)


class RecordingStore(MemoryStore):
    """A memory store that also keeps every committed batch, in the order of the commits."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards, system_clock)
        self.written: list[Written] = []

    def apply(self, batch: Batch) -> None:
        """Keeps the batch; the documents of the same round follow at once."""
        self.written.append(Written(batch=batch))
        super().apply(batch)


class RecordingDocuments(MemoryDocuments):
    """Keeps the documents beside the batch that they were committed with."""

    def __init__(self, store: RecordingStore) -> None:
        super().__init__()
        self._store = store

    async def save(self, round_: Round, changes: Mapping[str, Sequence[Change]]) -> None:
        """See `documents.DocumentStore`. A round applies its batch first and then, with nothing between, these."""
        await super().save(round_, changes)
        assert hasattr(round_, "stage")
        round_.stage(lambda: self._keep(changes))

    def _keep(self, changes: Mapping[str, Sequence[Change]]) -> None:
        self._store.written[-1].documents = changes
