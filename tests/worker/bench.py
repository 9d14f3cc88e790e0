"""One lane on a memory store and log, run until it has nothing left to do. Time stands still unless a test moves it."""

import asyncio
import uuid
from typing import Any

import msgspec

from devnet.log import MemoryLog, MemorySource
from domain.envelope import Actor, Envelope, Header
from domain.instant import SECOND, Instant
from domain.message import Command
from eventstore.codec import MacChain, encode_command
from eventstore.memory.store import MemoryStore
from eventstore.records import DeadLetter, Outcome
from eventstore.shards import shard_of
from projections.memory import MemoryDocuments
from worker.lane import Lane
from worker.round import Rounds
from worker.source import Record

T0: Instant = 1_800_000_000 * SECOND
ACTOR = Actor(kind="user", id="user_1")
MACS = MacChain({"k1": bytes(32)})
IDLE_TURNS_MAX = 20
RUN_S_MAX = 20.0
IDLE_S = 0.02
"""How soon an idle worker of a test notices that it is to end."""


class DrainingSource(MemorySource):
    """Ends the lane once everything was read, instead of waiting for more."""

    def __init__(self, bench: "Bench") -> None:
        super().__init__(bench.log)
        bench.log._readers.append(self)
        self._bench = bench

    async def fetch(self, limit: int, timeout_s: float) -> list[Record]:
        """See `MemorySource`."""
        records = self._take(limit)
        if not records:
            self._bench.lane.closing = True
        return records


class Bench:
    """A store, its documents, a log, and one lane that has claimed every shard."""

    def __init__(self, shards: int = 1) -> None:
        self.shards = shards
        self.at = T0
        self.store = MemoryStore(shards, lambda: self.at)
        self.documents = MemoryDocuments()
        self.log = MemoryLog(shards)
        self._idle = 0
        self.new_lane("worker-1")

    def new_lane(self, name: str) -> None:
        """Another worker's lane, with nothing in memory."""
        self.name = name
        self.rounds = Rounds(
            worker=name,
            store=self.store,
            documents=self.documents,
            macs=MACS,
            clock=lambda: self.at,
            shards=self.shards,
        )
        self.lane = Lane(
            worker=name,
            store=self.store,
            source=DrainingSource(self),
            rounds=self.rounds,
            lease_s=3.0,
            monotonic=lambda: self.at / SECOND,
            sleep=self._sleep,
        )

    async def _sleep(self, _seconds: float) -> None:
        self._idle += 1
        self.lane.closing = self._idle > IDLE_TURNS_MAX
        await asyncio.sleep(0)

    async def claim(self) -> None:
        """Gives the lane every shard that is free."""
        for head in await self.store.claim(self.name, self.shards, 3.0):
            self.lane.adopt(head)

    async def send(
        self,
        stream: str,
        command: Command,
        *,
        command_id: str | None = None,
        attempt: str = "attempt-1",
        deadline: Instant | None = None,
    ) -> str:
        """Puts a command into the log; answers its id."""
        command_id = command_id or str(uuid.uuid4())
        header = Header(
            id=command_id,
            attempt=attempt,
            stream=stream,
            account=stream.partition(":")[2],
            actor=ACTOR,
            issued_at=self.at,
            deadline=deadline,
            fingerprint="fp",
        )
        await self.send_bytes(self.shard(stream), encode_command(Envelope(header=header, body=command)))
        return command_id

    async def send_bytes(self, shard: int, value: bytes) -> None:
        """Puts anything into the log."""
        await self.log.send(shard, b"", value)

    async def run(self) -> None:
        """Lets the lane work until the log is drained, or it has come to rest without."""
        await self.claim()
        self._idle = 0
        self.lane.closing = False
        async with asyncio.timeout(RUN_S_MAX):
            await self.lane.run()

    def shard(self, stream: str) -> int:
        """The stream's shard."""
        return shard_of(stream, self.shards)

    async def outcome(self, command_id: str) -> Outcome | None:
        """What became of a command."""
        pairs = [(shard, command_id) for shard in range(self.shards)]
        return (await self.store.read_outcomes(pairs)).get(command_id)

    async def said(self, command_id: str) -> tuple[str, Any]:
        """Status, and the code of a refusal or the data of an answer."""
        outcome = await self.outcome(command_id)
        assert outcome is not None, f"{command_id} has no outcome"
        data = msgspec.json.decode(outcome.data)
        return outcome.status, data.get("code", data)

    async def letters(self) -> list[DeadLetter]:
        """All open dead letters with their records, the oldest first."""
        found = [await self.store.dead_letter(*each.place) for each in await self.store.dead_letters()]
        return [letter for letter in found if letter is not None]

    async def next_offsets(self) -> list[int]:
        """How far each shard has come."""
        return [head.next_offset for head in await self.store.shard_heads()]
