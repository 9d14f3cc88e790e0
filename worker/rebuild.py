"""`python -m worker rebuild`: makes read models again from the log beside the live ones, then exchanges them.

Each shard is read stream by stream up to where its log was when the rebuild began, which writes each document once;
from there on in the log's order until the rebuild has caught up with the workers. Then one transaction locks all
shards, takes in the last events, exchanges the tables and fences all lanes (docs/decisions/0010-rebuild.md).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import asyncpg
import structlog

from eventstore.postgres.driver_errors import translated
from eventstore.postgres.migrations import ADVISORY_LOCK, LOCK
from eventstore.postgres.pool import DirectConnection
from projections.comparison import Difference, compare_digests
from projections.document_tables import table_of
from projections.projection import AnyProjection, CannotFold
from projections.rebuild_tables import (
    AlreadyRebuilding,
    Disturbed,
    begin_or_resume,
    drop_old,
    finish_table,
    lock_collections,
    rebuild_table_of,
    take_place,
)
from projections.registry import all_projections
from worker.operating import NotDone, ProgressLine, connected, patient_collector, side_by_side
from worker.rebuild_shard import LogDamaged, ShardRebuild
from worker.settings import WorkerSettings
from worker.words import Commands, add_command

log = structlog.get_logger(__name__)
T = TypeVar("T")

SHARDS_AT_ONCE = 3
"""While the database reads or writes for one shard, another is folded."""
BEHIND_MAX = 2_000
"""Events that may be left for the transaction in which all lanes wait."""
PASSES_MAX = 100
EXCHANGE_TRIES = 40
EXCHANGE_WAIT_S = 0.25

HEADS = "SELECT shard, seq FROM shard_head ORDER BY shard"
LOCK_HEADS = "SELECT shard, seq FROM shard_head ORDER BY shard FOR UPDATE"
LOCK_BRIEFLY = "SET LOCAL lock_timeout = '3s'"
# A chunk and its progress are lost together or not at all, and the exchange is flushed with all that was before it.
COMMIT_LAZILY = "SET synchronous_commit = off"


def add_parser(commands: Commands) -> None:
    """The words of `rebuild`."""
    words = add_command(commands, "rebuild", "make read models again from the log, while everything runs")
    words.add_argument("collections", nargs="*", metavar="collection", help="which ones; all if none is named")
    words.set_defaults(act=rebuild)


async def rebuild(settings: WorkerSettings, *, collections: Sequence[str]) -> str:
    """Rebuilds the collections in one pass over the log. `NotDone` if it cannot; the live ones then stay."""
    known = all_projections()
    unknown = sorted(set(collections) - known.keys())
    if unknown:
        raise NotDone(f"there is no read model {', '.join(unknown)}; there are {', '.join(known)}")
    projections = [known[name] for name in sorted(set(collections) or known)]
    try:
        async with connected(settings.database_url) as connection:
            with patient_collector():
                return await Rebuild(settings.database_url, connection, projections).run()
    except (AlreadyRebuilding, Disturbed, CannotFold, LogDamaged) as error:
        raise NotDone(f"{error}. The live read models are as they were.") from error


async def _catch_up_to(
    heads: Mapping[int, int], shard: ShardRebuild, _reader: DirectConnection, writer: DirectConnection
) -> None:
    await shard.catch_up(writer, heads[shard.shard])


class Rebuild:
    """One run; `connection` holds the right to it, and makes the exchange."""

    def __init__(self, url: str, connection: DirectConnection, projections: Sequence[AnyProjection]) -> None:
        self._url = url
        self._connection = connection
        self._projections = projections
        self._names = [projection.collection for projection in projections]
        self._shards: list[ShardRebuild] = []
        self._line = ProgressLine("rebuild", 0)

    async def run(self) -> str:
        """From the beginning, or from where an interrupted run has left it, to the exchange."""
        began = time.monotonic()
        await self._begin()
        await self._all_shards(lambda shard, reader, writer: shard.bulk(reader, writer))
        await self._finish_tables()
        await self._catch_up()
        found = await self._compare()
        await self._catch_up()
        await self._exchange()
        with translated():
            left = await drop_old(self._connection, self._projections)
        self._line.say()
        return self._report(found, left, time.monotonic() - began)

    async def _begin(self) -> None:
        with translated():
            await lock_collections(self._connection, self._names)
            left = await drop_old(self._connection, self._projections)
            if left:
                raise NotDone(f"{', '.join(left)} is still in use, perhaps by a backup: run it again when that is over")
            places = await begin_or_resume(self._connection, self._projections)
        resumed = any(place.seq or place.stream for place in places.values())
        self._line = ProgressLine(
            "rebuild resumed" if resumed else "rebuild",
            sum(place.bound for place in places.values()),
            done=sum(place.seq for place in places.values()),
        )
        self._line.say()
        self._shards = [
            ShardRebuild(shard, place, self._projections, self._line.add) for shard, place in places.items()
        ]

    async def _all_shards(
        self, step: Callable[[ShardRebuild, DirectConnection, DirectConnection], Awaitable[T]]
    ) -> list[T]:
        """Does a step for every shard, a few at once, each on two connections of its own."""
        waiting = iter(self._shards)
        answers: list[T] = []

        async def work() -> None:
            async with connected(self._url) as reader, connected(self._url) as writer:
                await writer.execute(COMMIT_LAZILY)
                answers.extend([await step(shard, reader, writer) for shard in waiting])

        await side_by_side(SHARDS_AT_ONCE, work)
        return answers

    async def _finish_tables(self) -> None:
        waiting = iter(self._projections)

        async def work() -> None:
            async with connected(self._url) as connection:
                with translated():
                    await connection.execute(COMMIT_LAZILY)
                    for projection in waiting:
                        await finish_table(connection, projection)

        await side_by_side(SHARDS_AT_ONCE, work)

    async def _catch_up(self) -> None:
        """Takes in what the workers write meanwhile, until hardly anything is left."""
        for _ in range(PASSES_MAX):
            with translated():
                heads = {row["shard"]: row["seq"] for row in await self._connection.fetch(HEADS)}
            self._line.total = sum(heads.values())
            if sum(heads[shard.shard] - shard.place.seq for shard in self._shards) <= BEHIND_MAX:
                return
            await self._all_shards(partial(_catch_up_to, heads))
        raise NotDone("the workers write faster than the rebuild reads: run it again, it goes on where it is")

    async def _compare(self) -> list[Difference]:
        """How the live documents differ from those of the log. `LogDamaged` if the log has gaps.

        Each collection at a moment of its own: a snapshot over all of them would hold back vacuum for as long.
        """
        found: list[Difference] = []
        async with connected(self._url) as connection:
            with translated():
                await connection.execute(COMMIT_LAZILY)
                for shard in self._shards:
                    await shard.prove_whole(connection, shard.place.seq)
                for name in self._names:
                    found += await self._compare_one(connection, name)
        return found

    async def _compare_one(self, connection: DirectConnection, name: str) -> list[Difference]:
        """Takes in what this moment's live documents were made of, so that only what is wrong differs."""
        async with connection.transaction(isolation="repeatable_read"):
            heads = {row["shard"]: row["seq"] for row in await connection.fetch(HEADS)}
            places = [await shard.finish(connection, heads[shard.shard]) for shard in self._shards]
            tables = {"live": table_of(name), "made": rebuild_table_of(name)}
            found = await compare_digests(connection, name, **tables)
        for shard, place in zip(self._shards, places, strict=True):
            shard.arrive(place)
        return found

    async def _exchange(self) -> None:
        """Waits for a moment in which it can have all shards and tables; readers of these wait as long."""
        for _ in range(EXCHANGE_TRIES):
            try:
                await self._try_exchange()
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                log.info("exchange_waits", reason=str(error))
                await asyncio.sleep(EXCHANGE_WAIT_S)
                await self._catch_up()
            else:
                return
        raise NotDone("the tables are in use all the time: end long queries on them and run it again, it goes on")

    async def _try_exchange(self) -> None:
        connection = self._connection
        async with connection.transaction():
            await connection.execute(LOCK_BRIEFLY)
            await connection.execute(LOCK, ADVISORY_LOCK)
            heads = {row["shard"]: row["seq"] for row in await connection.fetch(LOCK_HEADS)}
            for shard in self._shards:
                place = await shard.finish(connection, heads[shard.shard])
                assert place.seq == heads[shard.shard], "every event of the log is in"
            await take_place(connection, self._projections)
        self._line.total = self._line.done = sum(heads.values())

    def _report(self, differences: Sequence[Difference], left: Sequence[str], took_s: float) -> str:
        lines = [
            f"rebuilt {', '.join(self._names)} from {self._line.done:,} events in {took_s:.1f} s; "
            + ("some were not as before:" if differences else "all were as before")
        ]
        by_name: dict[str, list[Difference]] = {}
        for each in differences:
            by_name.setdefault(each.collection, []).append(each)
        for name, found in by_name.items():
            shown = ", ".join(found[0].shown)
            lines.append(f"  {name}: {sum(each.count for each in found):,} documents, such as {shown}")
        if left:
            lines.append(f"  still in use, perhaps by a backup, and removed by the next rebuild: {', '.join(left)}")
        return "\n".join(lines)
