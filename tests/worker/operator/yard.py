"""A deployment in one process for operators' commands: a real PostgreSQL, the log in memory or in Kafka, one worker."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
from msgspec import structs

from devnet.log import MemoryLog
from domain.account.api_keys import CreateApiKey, RevokeApiKey
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, SettleHold
from domain.account.usage import Price, Usage
from domain.envelope import Actor, Envelope, Header
from domain.instant import HOUR, Instant
from domain.message import Command
from domain.user import GrantRole, RegisterUser, Role
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.command_topic import create_topic
from eventstore.postgres import migrations
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.records import DataKey, Outcome
from eventstore.shards import shard_of
from projections.document_tables import migrate_documents, table_of
from projections.postgres import PostgresDocuments
from projections.registry import all_projections
from tests.crash.waiting import until
from tests.worker.bench import IDLE_S
from worker.assembly import build_worker
from worker.kafka import KafkaSink, KafkaSource
from worker.settings import WorkerSettings
from worker.source import CommandSink, CommandSource

SHARDS = 4
PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v1")
ACTOR = Actor(kind="user", id="user_operator_test")
MAC_KEYS = {"m1": b"0123456789abcdef0123456789abcdef"}


class Yard:
    """Where commands are sent and outcomes awaited. `sink` is what takes commands, `source` what workers read."""

    def __init__(
        self, settings: WorkerSettings, store: PostgresStore, sink: CommandSink, source: Callable[[], CommandSource]
    ) -> None:
        self.settings = settings
        self.store = store
        self.sink = sink
        self.source = source
        self.rng = random.Random(7)
        self._numbers = itertools.count(1)

    def envelope(self, stream: str, body: Command, *, deadline: Instant | None = None) -> Envelope:
        """A command with ids of its own."""
        command_id = f"command-{next(self._numbers):06d}"
        header = Header(
            id=command_id,
            attempt=f"{command_id}-1",
            stream=stream,
            account=stream.partition(":")[2],
            actor=ACTOR,
            issued_at=system_clock(),
            deadline=deadline,
        )
        return Envelope(header=header, body=body)

    async def send(self, envelope: Envelope) -> Envelope:
        """Appends a command to the log."""
        stream = envelope.header.stream
        await self.sink.send(shard_of(stream, SHARDS), stream.encode(), codec.encode_command(envelope))
        return envelope

    async def ask(self, stream: str, body: Command, *, deadline: Instant | None = None) -> Envelope:
        """Makes and sends a command; before a registration, as the API does, the key that its texts are sealed by."""
        if isinstance(body, RegisterUser):
            await self.store.add_data_key(DataKey(subject=stream, master_id="test", wrapped=b"wrapped"))
        return await self.send(self.envelope(stream, body, deadline=deadline))

    async def outcome(self, envelope: Envelope, *, status: str | None = None) -> Outcome:
        """The outcome, once there is one (with this status)."""
        header = envelope.header
        place = (shard_of(header.stream, SHARDS), header.id)

        async def found() -> list[Outcome]:
            outcomes = (await self.store.read_outcomes([place])).values()
            return [outcome for outcome in outcomes if status in (None, outcome.status)]

        return (await until(found, 60, f"outcome {status or ''} of {header.id}"))[0]

    async def apply(self, stream: str, body: Command) -> Outcome:
        """Sends a command and waits until it was applied."""
        return await self.outcome(await self.ask(stream, body))

    async def fill(self, accounts: int = 10, operations: int = 60) -> None:
        """Users with accounts on which all kinds of things have happened; returns when all of it is applied."""
        sent = [await self.ask(f"user:user_{n}", register(f"user_{n}")) for n in range(accounts)]
        sent += [await self.ask(f"account:user_{n}", grant(f"user_{n}", "first")) for n in range(accounts)]
        for _ in range(operations):
            sent += [await self.send(each) for each in self.operation(f"user_{self.rng.randrange(accounts)}")]
        for each in sent:
            await self.outcome(each)

    def operation(self, account: str) -> list[Envelope]:
        """Something that happens to an account."""
        stream, number = f"account:{account}", next(self._numbers)
        hold = PlaceHold(
            hold_id=f"hold_{number}",
            amount=5_000,
            amount_min=5_000,
            model=self.rng.choice(["small", "large"]),
            price=PRICE,
            expires_at=system_clock() + HOUR,
            key_id=None,
        )
        usage = Usage(source="provider", input=self.rng.randrange(2_000), output=self.rng.randrange(900))
        key = CreateApiKey(
            key_id=f"key_{number}",
            name="test",
            scopes=("read",),
            mode="live",
            digest="d",
            hint="h",
            created_by=account,
            keys_max=None,
            secret_sealed="sealed",
        )
        kinds: list[list[Command]] = [
            [hold, SettleHold(hold_id=hold.hold_id, usage=usage)],
            [hold, SettleHold(hold_id=hold.hold_id, usage=usage)],
            [hold, ReleaseHold(hold_id=hold.hold_id, reason="test")],
            [hold],
            [key, RevokeApiKey(key_id=key.key_id)],
            [grant(account, f"g{number}")],
        ]
        return [self.envelope(stream, body) for body in self.rng.choice(kinds)]

    @asynccontextmanager
    async def working(self, clock: Callable[[], Instant] = system_clock) -> AsyncIterator[None]:
        """A worker for the length of the block, and what it takes the time to be."""
        worker = await build_worker(
            store=self.store,
            documents=PostgresDocuments(self.store.pool),
            source=self.source,
            sink=self.sink,
            clock=clock,
            idle_s=IDLE_S,
            macs=codec.MacChain(dict(MAC_KEYS)),
        )
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.close()
            await running

    @asynccontextmanager
    async def load(self, accounts: int) -> AsyncIterator[list[Envelope]]:
        """Operations all the time during the block, and all of their outcomes at its end."""
        sent: list[Envelope] = []
        stopping = asyncio.Event()

        async def client() -> None:
            while not stopping.is_set():
                operation = self.operation(f"user_{self.rng.randrange(accounts)}")
                sent.extend([await self.send(envelope) for envelope in operation])
                await self.outcome(sent[-1])

        clients = [asyncio.create_task(client()) for _ in range(8)]
        try:
            yield sent
        finally:
            stopping.set()
            await asyncio.gather(*clients)
        for envelope in sent:
            await self.outcome(envelope)

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """What an operator sees with SQL."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    async def documents(self) -> dict[str, list[tuple[object, ...]]]:
        """Every document of every collection."""
        return {
            name: [
                tuple(row)
                for row in await self.rows(
                    f"SELECT shard, key, owner, sort, doc::text FROM {table_of(name)} ORDER BY shard, key"  # noqa: S608
                )
            ]
            for name in all_projections()
        }


def register(user_id: str) -> RegisterUser:
    """A registration."""
    return RegisterUser(
        user_id=user_id,
        email_hash=f"hash-{user_id}",
        email_sealed="sealed",
        display_name_sealed=None,
        password_sealed="sealed",
    )


def grant(account: str, reference: str, amount: int = 1_000_000_000) -> AddCredits:
    """A grant of credits."""
    return AddCredits(grant_id=f"grant_{account}_{reference}", amount=amount, source="test", reference=reference)


def role(name: Role) -> GrantRole:
    """Gives a user a role."""
    return GrantRole(role=name)


def again(envelope: Envelope, attempt: str) -> Envelope:
    """The same command, tried once more."""
    return structs.replace(envelope, header=structs.replace(envelope.header, attempt=attempt))


async def migrated(database_url: str, shards: int = SHARDS) -> None:
    """Makes the tables."""
    connection = await migrations.connect(database_url)
    try:
        await migrations.migrate(connection, shards=shards)
        await migrate_documents(connection)
    finally:
        await connection.close()


def settings_for(database_url: str, *, kafka: str = "127.0.0.1:1", topic: str = "unused") -> WorkerSettings:
    """What the environment would say."""
    return WorkerSettings(
        database_url=database_url, kafka_bootstrap_servers=(kafka,), kafka_topic=topic, log_mac_keys=MAC_KEYS
    )


@asynccontextmanager
async def memory_yard(database_url: str) -> AsyncIterator[Yard]:
    """A yard whose log is in memory, on a database that has its tables."""
    store = await PostgresStore.open(database_url, WORKER)
    log = MemoryLog(SHARDS)
    try:
        yield Yard(settings_for(database_url), store, log, log.source)
    finally:
        await store.close()


@asynccontextmanager
async def kafka_yard(database_url: str, kafka: str, topic: str) -> AsyncIterator[Yard]:
    """A yard whose log is a topic in a real Kafka, on a database that has its tables."""
    await create_topic((kafka,), topic, SHARDS)
    store = await PostgresStore.open(database_url, WORKER)
    sink = KafkaSink((kafka,), topic)
    settings = settings_for(database_url, kafka=kafka, topic=topic)
    try:
        yield Yard(settings, store, sink, lambda: KafkaSource((kafka,), topic))
    finally:
        await sink.close()
        await store.close()
