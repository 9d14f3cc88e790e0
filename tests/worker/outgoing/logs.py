"""Logs with events of accounts in them, on any store, written without deciding anything."""

from collections.abc import Sequence

import pytest

from domain.account.plan_terms import PlanTerms
from domain.account.subscription import SubscriptionConfirmed
from domain.instant import Instant
from domain.message import Event
from domain.recorded import Metadata
from eventstore import codec
from eventstore.records import Batch, Lease, Progress, StoredEvent, StreamHead
from eventstore.shards import shard_of
from eventstore.store import Store
from tests.eventstore.rows import write
from tests.worker.bench import ACTOR, T0

TERMS = PlanTerms(
    messages_per_day=None,
    requests_per_minute=60,
    requests_per_day=None,
    agent_slots=5,
    api_keys=10,
    seats=None,
    features=("basic_models",),
)
META = codec.encode_json(Metadata(command_id="command", account="a", actor=ACTOR))


def confirmed(reference: str, plan: str = "pro") -> SubscriptionConfirmed:
    """News of a subscription."""
    return SubscriptionConfirmed(
        plan=plan,
        status="active",
        terms=TERMS,
        occurred_at=T0,
        reference=reference,
        period_start=T0,
        period_end=None,
        seats=3,
        confirmed_at=T0,
    )


on_both = pytest.mark.parametrize(
    "backing", ["memory", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
"""Tests of what may go wrong between processes run on a real Postgres too."""


class Time:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = T0

    def __call__(self) -> Instant:
        """The time."""
        return self.at


class Writer:
    """Appends events to streams of accounts, as a worker that holds every shard of `store`."""

    def __init__(self, store: Store, leases: Sequence[Lease], shards: int) -> None:
        self._store = store
        self._leases = {lease.shard: lease for lease in leases}
        self._shards = shards
        self._versions: dict[str, int] = {}
        self._seqs: dict[int, int] = {}

    @classmethod
    async def claim(cls, store: Store) -> "Writer":
        """With all shards, for long."""
        shards = await store.shards()
        heads = await store.claim("writer", shards, 3_600.0)
        return cls(store, [Lease(shard=head.shard, epoch=head.epoch) for head in heads], shards)

    async def append(self, account: str, *events: Event) -> None:
        """Writes events of an account, in one transaction."""
        stream = f"account:{account}"
        shard = shard_of(stream, self._shards)
        expected, seq = self._versions.get(stream, 0), self._seqs.get(shard, 0)
        stored = [
            StoredEvent(
                shard=shard,
                stream=stream,
                version=expected + number,
                seq=seq + number,
                at=T0 + seq + number,
                type=codec.tag_of(event),
                schema_version=event.schema_version,
                payload=codec.encode_json(event),
                metadata=META,
                mac=b"k:",
            )
            for number, event in enumerate(events, start=1)
        ]
        self._versions[stream], self._seqs[shard] = stored[-1].version, stored[-1].seq
        head = StreamHead(shard=shard, stream=stream, version=stored[-1].version, mac=b"k:")
        progress = Progress(shard=shard, next_offset=stored[-1].seq, seq=stored[-1].seq, last_digest=b"d")
        batch = Batch(events=stored, heads=[(expected, head)], progress=[progress])
        await write(self._store, "writer", [self._leases[shard]], batch)
