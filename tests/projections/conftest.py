"""Document stores with collections of the test's own: each test that takes `opened` runs on all stores."""

from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec import Struct

from domain.recorded import Recorded
from eventstore.memory.store import MemoryStore
from eventstore.postgres.migrations import connect, migrate
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from eventstore.records import Lease
from eventstore.store import Store
from projections.document_tables import migrate_documents
from projections.documents import Change, DocumentStore, Row
from projections.memory import MemoryDocuments
from projections.postgres import PostgresDocuments
from projections.projection import AnyProjection, Projection
from tests.eventstore.rows import claimed, now

SHARDS = 3


class Thing(Struct, frozen=True):
    """The document of the test's collections."""

    owner: str


def _key(_recorded: Recorded) -> str | None:
    return None


def projection_of(
    collection: str,
    *,
    found_by_key: bool = False,
    followed: bool = False,
    listed: bool = True,
    listed_everywhere: bool = False,
) -> AnyProjection:
    """A collection of things."""
    return Projection(
        collection=collection,
        version=1,
        document=Thing,
        events=[],
        key=_key,
        evolve=lambda thing, _recorded: thing,
        owner=lambda thing: thing.owner,
        found_by_key=found_by_key,
        followed=followed,
        listed=listed,
        listed_everywhere=listed_everywhere,
    )


class Opened(Struct):
    """A document store, and the rounds that write to it."""

    store: Store
    documents: DocumentStore
    leases: list[Lease]

    async def save(self, changes: Sequence[Change], collection: str = "things") -> None:
        """One committed round that saves."""
        async with self.store.round("w", self.leases) as round_:
            await self.documents.save(round_, {collection: changes})


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def backing(request: pytest.FixtureRequest) -> str | None:
    """The database behind the store; `None` for memory."""
    return str(request.getfixturevalue("database_url")) if request.param == "postgres" else None


@pytest.fixture
async def opened(backing: str | None) -> AsyncIterator[Opened]:
    """Empty collections `things`, `found`, `followed` and `spread` over three shards."""
    store: Store
    documents: DocumentStore
    if backing is None:
        store, documents = MemoryStore(SHARDS, now), MemoryDocuments()
    else:
        store, documents = await open_documents(backing)
    yield Opened(store, documents, await claimed(store, "w", SHARDS))
    await store.close()


async def open_documents(url: str) -> tuple[PostgresStore, PostgresDocuments]:
    """Collections of the test's own in an empty database."""
    connection = await connect(url)
    await migrate(connection, shards=SHARDS)
    await migrate_documents(
        connection,
        [
            projection_of("things"),
            projection_of("found", found_by_key=True),
            projection_of("followed", followed=True),
            projection_of("spread", listed_everywhere=True),
        ],
    )
    await connection.close()
    store = await PostgresStore.open(url, WORKER)
    return store, PostgresDocuments(store.pool)


def change(key: str, *, sort: str = "", owner: str = "o", shard: int = 0, doc: bytes | None = b"{}") -> Change:
    """A document of one owner."""
    return Change(shard=shard, key=key, owner=owner, sort=sort, doc=doc)


def places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(sort, key) of each row."""
    return [(row.sort, row.key) for row in rows]
