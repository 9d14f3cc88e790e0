"""`python -m worker adopt-log`: goes on after a topic was recreated or an older database was restored."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from eventstore.codec import digest
from eventstore.postgres.store import PostgresStore
from eventstore.records import ShardHead
from worker.kafka import KafkaSource
from worker.log_check import MISMATCHES, OUTGROWN
from worker.operating import NotDone, operators_store
from worker.settings import WorkerSettings
from worker.source import CommandSource, LogBounds
from worker.words import Commands, add_command

SETTLE_S = 1.0
TRIES = 5


class Adoption(Struct, frozen=True, kw_only=True):
    """What will be done with a stopped shard."""

    shard: int
    next_offset: int
    adopt_until: int
    why: str
    missing: int
    """Commands that the log no longer has and the store has not seen."""

    def __str__(self) -> str:
        count = self.adopt_until - self.next_offset
        where = f"offsets {self.next_offset} to {self.adopt_until - 1}" if count else f"none before {self.next_offset}"
        lost = f"; {self.missing} commands before that ARE LOST, the log has deleted them" if self.missing else ""
        return f"shard {self.shard}: {self.why}: applies {count} records, {where}, whatever their deadlines{lost}"


def add_parser(commands: Commands) -> None:
    """The words of `adopt-log`."""
    words = add_command(commands, "adopt-log", "go on after a recreated topic or a restored older database")
    words.add_argument("--yes", action="store_true", help="do it; without this it only says what it would do")
    words.set_defaults(act=adopt_log)


async def adopt_log(settings: WorkerSettings, *, yes: bool) -> str:
    """Frees the shards that stopped because log and store do not fit each other, and only those.

    Every command that is in the log is applied; what was applied before is recognised by its outcome.
    """
    source = KafkaSource(settings.kafka_bootstrap_servers, settings.kafka_topic)
    try:
        async with operators_store(settings) as store:
            plans = await plan(store, source)
            if not plans:
                return "no shard has stopped for its log"
            said = "\n".join(str(each) for each in plans)
            if not yes:
                return f"{said}\nNothing was done yet: add --yes to do it."
            await adopt(store, source, plans)
            return f"{said}\nDone."
    finally:
        await source.close()


async def plan(store: PostgresStore, source: CommandSource) -> list[Adoption]:
    """One adoption for each shard that has stopped for its log."""
    heads = [head for head in await store.shard_heads() if (head.stopped or "").startswith(MISMATCHES)]
    return [await _plan(source, head) for head in heads]


async def _plan(source: CommandSource, head: ShardHead) -> Adoption:
    bounds = await source.bounds(head.shard)
    same = await _same_log(source, head, bounds)
    start = max(head.next_offset, bounds.first) if same else bounds.first
    return Adoption(
        shard=head.shard,
        next_offset=start,
        adopt_until=bounds.end,
        why=(head.stopped or "").partition(":")[0],
        missing=start - head.next_offset if same else 0,
    )


async def _same_log(source: CommandSource, head: ShardHead, bounds: LogBounds) -> bool:
    """Whether the store has applied this very log up to its `next_offset`; if not, all of the log is new to it."""
    if head.next_offset > bounds.end or (head.stopped or "").startswith(OUTGROWN):
        return False
    if not head.last_digest or head.next_offset <= bounds.first:
        return True
    before = await source.read_one(head.shard, head.next_offset - 1)
    return before is not None and digest(before.value) == head.last_digest


async def adopt(store: PostgresStore, source: CommandSource, plans: Sequence[Adoption]) -> None:
    """Does it. A worker that looks between the two steps stops the shard once more; then both are done again."""
    for _ in range(TRIES):
        for each in plans:
            await store.adopt(each.shard, each.next_offset, each.adopt_until)
        positions = {each.shard: each.next_offset for each in plans}
        await source.assign(positions)  # Kafka's client commits offsets of assigned partitions only
        await source.commit(positions)
        await asyncio.sleep(SETTLE_S)
        again = {head.shard for head in await store.shard_heads() if (head.stopped or "").startswith(MISMATCHES)}
        plans = [each for each in plans if each.shard in again]
        if not plans:
            return
    raise NotDone(f"shards {sorted(each.shard for each in plans)} stop again: is the log being changed meanwhile?")
