"""Puts a worker together from a store, documents and a log; the same for production, devnet and tests."""

import uuid
from collections.abc import Callable, Sequence
from functools import partial

from domain.instant import Instant
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.records import Outcome
from eventstore.store import Store
from projections.documents import DocumentStore
from projections.versions import why_unwritable
from worker.lane import IDLE_S, Lane
from worker.outgoing.outgoing import Outgoing
from worker.outgoing.target import Target
from worker.rechecking import Rechecker
from worker.round import Rounds
from worker.source import CommandSink, CommandSource
from worker.worker import LEASE_S, Worker


async def build_worker(
    *,
    store: Store,
    documents: DocumentStore,
    source: Callable[[], CommandSource],
    sink: CommandSink,
    macs: MacChain,
    lanes: int = 2,
    clock: Callable[[], Instant] = system_clock,
    on_outcomes: Callable[[Sequence[Outcome]], None] | None = None,
    targets: Sequence[Target] = (),
    idle_s: float = IDLE_S,
) -> Worker:
    """A worker with a random name; `source` makes the view of the log that one lane reads.

    `on_outcomes` is called after each commit with its outcomes: where API and worker share a process, nobody polls.
    `targets` are places outside that are told of what happened. `idle_s`: see `Lane`.
    """
    name = f"worker-{uuid.uuid4().hex[:12]}"
    shards = await store.shards()

    def lane() -> Lane:
        rounds = Rounds(worker=name, store=store, documents=documents, macs=macs, clock=clock, shards=shards)
        if on_outcomes is not None:
            rounds.on_outcomes = on_outcomes
        return Lane(worker=name, store=store, source=source(), rounds=rounds, lease_s=LEASE_S, idle_s=idle_s)

    working = [lane() for _ in range(lanes)]
    return Worker(
        name=name,
        store=store,
        sink=sink,
        lanes=working,
        clock=clock,
        shards=shards,
        unfit=partial(why_unwritable, documents),
        rechecker=Rechecker(store, source(), working),
        outgoing=Outgoing(store, targets, clock, name=name) if targets else None,
    )
