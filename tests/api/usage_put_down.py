"""Usage at times that a test need not wait for: put down as a worker would have."""

from collections.abc import Sequence

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from eventstore.shards import shard_of
from projections.memory import MemoryDocuments
from tests.api.running import SHARDS, Person, Running
from tests.projections.usage_world import changes


def put_down(app: Running, person: Person, events: Sequence[HoldClosed | HoldCorrected]) -> None:
    """Writes the documents of these ends of holds in the person's account."""
    documents = app.services.documents
    assert isinstance(documents, MemoryDocuments)
    documents._apply(changes(events, person.id, shard_of(f"account:{person.id}", SHARDS)))
