"""One shard of a rebuild: the bulk of it stream by stream, then what came meanwhile in the log's order."""

from collections.abc import Callable, Sequence
from itertools import takewhile

from domain.recorded import Recorded
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import DirectConnection
from projections.projection import AnyProjection
from projections.rebuild_tables import Place, add_primary_key, move, rebuild_table_of
from worker.log_rows import recorded
from worker.refold import Refold

CHUNK = 5_000
"""Events that are folded and committed together, but for a stream's rest: what an interruption costs."""
STREAM_MAX = 20_000
"""Events of one stream that are folded at once. A longer one is folded by parts, which have to find its documents."""

# The planner chooses between the index in this order and a sort: a cold disk reads the log in its own order faster.
BULK = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata
FROM events
WHERE shard = $1 AND seq <= $2 AND (stream, version) > ($3, $4) AND type = ANY ($5::text[])
ORDER BY stream, version
"""

TAIL = """
SELECT shard, stream, version, seq, at, type, schema_version, payload, metadata
FROM events
WHERE shard = $1 AND seq > $2 AND seq <= $3
ORDER BY seq
LIMIT $4
"""

COUNT = "SELECT count(*) FROM events WHERE shard = $1 AND seq BETWEEN 1 AND $2"


class LogDamaged(Exception):
    """The log of a shard has gaps."""


class ShardRebuild:
    """Brings one shard's documents into the tables that are being rebuilt. `place` is what was committed last."""

    def __init__(
        self, shard: int, place: Place, projections: Sequence[AnyProjection], counted: Callable[[int], None]
    ) -> None:
        self.shard = shard
        self.place = place
        self._collections = [projection.collection for projection in projections]
        self._types = sorted(
            {str(event.__struct_config__.tag) for projection in projections for event in projection.events}
        )
        self._refold = Refold(shard, projections, rebuild_table_of)
        self._counted = counted

    async def bulk(self, reader: DirectConnection, writer: DirectConnection) -> None:
        """All streams up to the bound, each chunk with its progress in one transaction of `writer`."""
        if not self.place.bulk:
            return
        bound, read = self.place.bound, 0
        waiting: list[Recorded] = []
        with translated():
            async with reader.transaction(readonly=True):
                cursor = await reader.cursor(
                    BULK, self.shard, bound, self.place.stream, self.place.stream_version, self._types
                )
                while rows := await cursor.fetch(CHUNK):
                    waiting += [recorded(row) for row in rows]
                    read += len(rows)
                    ready = _whole_streams(waiting) or (len(waiting) if len(waiting) >= STREAM_MAX else 0)
                    await self._take_in_streams(writer, waiting[:ready])
                    waiting = waiting[ready:]
            await self._take_in_streams(writer, waiting)
            await self._leave_bulk(writer)
        self._counted(bound - read)

    async def _take_in_streams(self, writer: DirectConnection, events: Sequence[Recorded]) -> None:
        """Whole streams, or a part of a long one, with the progress in one transaction."""
        if not events:
            return
        begun = list(takewhile(lambda event: event.stream == self.place.stream, events))
        if begun:
            # From here on each document costs its place in the index; such streams are few.
            for collection in self._collections:
                await add_primary_key(writer, collection)
        after = Place(bound=self.place.bound, stream=events[-1].stream, stream_version=events[-1].version)
        async with writer.transaction():
            await self._take_in(writer, events, begun, after)
        self.place = after
        self._counted(len(events))

    async def _leave_bulk(self, writer: DirectConnection) -> None:
        after = Place(bound=self.place.bound, seq=self.place.bound)
        async with writer.transaction():
            await move(writer, self._collections, self.shard, self.place, after)
        self.place = after

    async def _take_in(
        self, writer: DirectConnection, events: Sequence[Recorded], begun: Sequence[Recorded], after: Place
    ) -> None:
        """Folds a chunk; `begun` are those of its events whose documents may be stored already."""
        if begun:
            await self._refold.load(writer, begun)
        self._refold.fold(events)
        await self._refold.flush(writer)
        await move(writer, self._collections, self.shard, self.place, after)

    async def catch_up(self, connection: DirectConnection, until: int) -> None:
        """What came behind the bulk up to `until`, a transaction for each chunk."""
        with translated():
            while self.place.seq < until:
                async with connection.transaction():
                    after = await self._tail(connection, until)
                self.arrive(after)

    async def finish(self, connection: DirectConnection, until: int) -> Place:
        """The same inside a transaction of the caller's, who says `arrive` once that is committed."""
        before = self.place
        try:
            while self.place.seq < until:
                self.place = await self._tail(connection, until)
            return self.place
        finally:
            self.place = before

    async def _tail(self, connection: DirectConnection, until: int) -> Place:
        rows = await connection.fetch(TAIL, self.shard, self.place.seq, until, CHUNK)
        events = [recorded(row) for row in rows]
        if [event.seq for event in events] != list(range(self.place.seq + 1, self.place.seq + 1 + len(events))):
            raise LogDamaged(f"shard {self.shard} has gaps behind {self.place.seq}: run `python -m worker verify`")
        if not events:
            raise LogDamaged(f"shard {self.shard} ends before {until}: run `python -m worker verify`")
        after = Place(bound=self.place.bound, seq=events[-1].seq)
        await self._take_in(connection, events, events, after)
        return after

    async def prove_whole(self, connection: DirectConnection, seq: int) -> None:
        """`LogDamaged` if not every event up to `seq` is there to be folded."""
        if await connection.fetchval(COUNT, self.shard, seq) != seq:
            raise LogDamaged(f"shard {self.shard} has gaps: run `python -m worker verify`")

    def arrive(self, place: Place) -> None:
        """What `finish` answered is committed."""
        self._counted(place.seq - self.place.seq)
        self.place = place


def _whole_streams(events: Sequence[Recorded]) -> int:
    """How many of the events come before the last stream, whose rest may be still to come."""
    last = events[-1].stream
    return len(events) - sum(1 for _ in takewhile(lambda event: event.stream == last, reversed(events)))
