"""Load: commands to the real topic through the product's own producer, and a record of what was acknowledged."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec
from msgspec import Struct

from api.command_log.bus import BusError
from api.command_log.kafka_bus import KafkaBus
from api.ids import derived, random_hex
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold
from domain.account.usage import Price, Usage
from domain.envelope import Actor, Envelope, Header
from domain.instant import HOUR
from domain.message import Command
from eventstore.codec import encode_command
from eventstore.shards import shard_of

PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="crash")
ACTOR = Actor(kind="system", id="load")
RETRY_S = 0.05
AHEAD_MAX = 1_500
"""Acknowledged and not yet applied: more would only prolong the way to the end of the test."""


class Sent(Struct, kw_only=True):
    """A command that was sent at least once."""

    shard: int
    envelope: Envelope
    acknowledged: bool = False


class Load:
    """Clients that grant, hold, settle and release on accounts of their own, and repeat themselves now and then.

    The seed names the accounts too: loads of different seeds do not meet.
    """

    def __init__(self, bus: KafkaBus, shards: int, *, seed: str, clients: int = 24, accounts_each: int = 12) -> None:
        self.sent: dict[str, Sent] = {}
        self.records = 0
        """Acknowledged records, repeats included."""
        self.refusals = 0
        """Sends that failed and were repeated."""
        self._bus = bus
        self._shards = shards
        self._applied: Callable[[], Awaitable[int | None]] | None = None
        self._seen = 0
        self._stopping = False
        self._seed = seed
        self._clients = [random.Random(f"{seed} {number}") for number in range(clients)]
        self._accounts_each = accounts_each
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, applied: Callable[[], Awaitable[int | None]]) -> Self:
        """Starts the clients; `applied` answers how many records the workers have applied, `None` if nobody can tell.

        That is what keeps the load from running away from them.
        """
        self._applied = applied
        self._tasks = [asyncio.create_task(self._watch(), name="watch")]
        self._tasks += [
            asyncio.create_task(self._client(number, rng), name=f"client-{number}")
            for number, rng in enumerate(self._clients)
        ]
        return self

    async def stop(self) -> None:
        """Lets every client finish what it is about. Raises what ended one."""
        self._stopping = True
        _, late = await asyncio.wait(self._tasks, timeout=60)
        for task in late:
            task.cancel()
        assert not late, f"clients that did not come to an end: {late}"
        for task in self._tasks:
            task.result()

    def abandon(self) -> None:
        """Cancels what is still running: the test is over, or has failed."""
        for task in self._tasks:
            task.cancel()

    async def more(self, records: int, timeout_s: float = 60) -> None:
        """Returns once so many more records were acknowledged."""
        goal, end = self.records + records, time.monotonic() + timeout_s
        while self.records < goal:
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < end, f"the load came to a stand at {self.records} records"
            await asyncio.sleep(RETRY_S / 10)

    @property
    def acknowledged(self) -> dict[str, Sent]:
        """Commands of which at least one record was acknowledged, by id."""
        return {command_id: sent for command_id, sent in self.sent.items() if sent.acknowledged}

    async def _watch(self) -> None:
        assert self._applied is not None
        while not self._stopping:
            applied = await self._applied()
            # Nobody can apply anything while the database is away: then clients may go on.
            self._seen = self.records if applied is None else applied
            await asyncio.sleep(RETRY_S)

    async def _client(self, number: int, rng: random.Random) -> None:
        names = [derived(self._seed, str(number), str(each)) for each in range(self._accounts_each)]
        accounts = [f"user_{name.replace('-', '')}" for name in names]
        history: list[str] = []
        for account in accounts:
            await self._grant(account, rng, history, "first")
        turn = 0
        while not self._stopping:
            turn += 1
            await self._room()
            account = rng.choice(accounts)
            if rng.random() < 0.25:
                await self._grant(account, rng, history, f"{turn}")
            else:
                await self._chat(account, rng, history, f"{number}.{turn}")
            if rng.random() < 0.1:
                await self._repeat(rng.choice(history), rng)

    async def _room(self) -> None:
        while self.records - self._seen > AHEAD_MAX and not self._stopping:
            await asyncio.sleep(RETRY_S / 5)

    async def _grant(self, account: str, rng: random.Random, history: list[str], reference: str) -> None:
        command_id = derived(account, reference)
        amount = rng.randrange(1, 2_000)
        grant = AddCredits(grant_id=f"grant_{command_id}", amount=amount, source="load", reference=reference)
        await self._send(command_id, account, grant, rng, history)

    async def _chat(self, account: str, rng: random.Random, history: list[str], name: str) -> None:
        """A hold, perhaps its progress, and mostly its end, or a settle that is taken back.

        Sometimes more is used than was held or is there.
        """
        hold_id = f"hold_{derived(account, name)}"
        amount = rng.randrange(1, 800)
        place = PlaceHold(
            hold_id=hold_id,
            amount=amount,
            amount_min=amount // 2,
            model="load",
            price=PRICE,
            expires_at=time.time_ns() // 1_000 + HOUR,
        )
        await self._send(derived(hold_id, "place"), account, place, rng, history)
        usage = Usage(source="provider", input=rng.randrange(400), cached=rng.randrange(100), output=rng.randrange(200))
        fate = rng.random()
        if fate < 0.2:
            progress = ReportProgress(hold_id=hold_id, usage=usage)
            await self._send(derived(hold_id, "progress"), account, progress, rng, history)
        settle, release = SettleHold(hold_id=hold_id, usage=usage), ReleaseHold(hold_id=hold_id, reason="load")
        if fate < 0.7:
            await self._send(derived(hold_id, "settle"), account, settle, rng, history)
        if fate < 0.05 or 0.7 <= fate < 0.95:
            await self._send(derived(hold_id, "release"), account, release, rng, history)

    async def _send(
        self, command_id: str, account: str, command: Command, rng: random.Random, history: list[str]
    ) -> None:
        stream = f"account:{account}"
        header = Header(
            id=command_id,
            attempt=random_hex(),
            stream=stream,
            account=account,
            actor=ACTOR,
            issued_at=time.time_ns() // 1_000,
        )
        sent = Sent(shard=shard_of(stream, self._shards), envelope=Envelope(header=header, body=command))
        self.sent[command_id] = sent
        history.append(command_id)
        await self._deliver(sent, sent.envelope)
        if rng.random() < 0.05:
            await self._repeat(command_id, rng)

    async def _repeat(self, command_id: str, rng: random.Random) -> None:
        """The same record again, as after a lost acknowledgement, or another attempt, as by a client's retry."""
        sent = self.sent[command_id]
        envelope = sent.envelope
        if rng.random() < 0.5:
            header = msgspec.structs.replace(envelope.header, attempt=random_hex())
            envelope = Envelope(header=header, body=envelope.body)
        await self._deliver(sent, envelope)

    async def _deliver(self, sent: Sent, envelope: Envelope) -> None:
        record = encode_command(envelope)
        while True:
            try:
                await self._bus.send(sent.shard, envelope.header.stream.encode(), record)
            except BusError:
                self.refusals += 1
                if self._stopping:
                    return
                await asyncio.sleep(RETRY_S)
            else:
                sent.acknowledged = True
                self.records += 1
                return
