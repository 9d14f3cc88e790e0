"""Word of decided commands, on every store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from eventstore.errors import Unavailable
from eventstore.postgres.decided import IDS_MAX
from eventstore.postgres.migrations import connect
from eventstore.postgres.store import PostgresStore
from eventstore.store import Store

WAIT_S_MAX = 10.0


class Ear:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.words: list[int] = []
        self.listening = asyncio.Event()
        self._news = asyncio.Event()

    def heard(self, command_ids: Sequence[str]) -> None:
        """For `hear_decided`."""
        self.ids += command_ids
        self.words.append(len(command_ids))
        self._news.set()

    async def until(self, count: int) -> list[str]:
        """What was heard, once it is so many commands."""
        async with asyncio.timeout(WAIT_S_MAX):
            while len(self.ids) < count:
                self._news.clear()
                await self._news.wait()
        return self.ids


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[tuple[Ear, "asyncio.Task[None]"]]:
    """An ear on the store, and the task that it listens with."""
    ear = Ear()
    task = asyncio.create_task(store.hear_decided(ear.heard, ear.listening.set))
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            await ear.listening.wait()
        yield ear, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_everybody_who_listens_is_told(store: Store) -> None:
    """Two processes hear of the same commands, in order; one that has left hears nothing and disturbs nobody."""
    async with listening(store) as (gone, _):
        pass
    async with listening(store) as (one, _), listening(store) as (other, _):
        await store.tell_decided(["c1", "c2"])
        await store.tell_decided(["c3"])
        assert await one.until(3) == await other.until(3) == ["c1", "c2", "c3"]
    assert gone.ids == []


async def test_many_at_once(store: Store) -> None:
    """More commands than one notification has room for, with the longest ids there are."""
    ids = [f"{number:0>64}" for number in range(IDS_MAX * 3 + 1)]
    async with listening(store) as (ear, _):
        await store.tell_decided(ids)
        assert await ear.until(len(ids)) == ids


async def test_nobody_and_nothing(store: Store) -> None:
    """To tell nobody, or nothing, is no error."""
    await store.tell_decided(["c1"])
    await store.tell_decided([])


@pytest.mark.postgres
async def test_a_lost_connection_ends_the_listening(postgres: PostgresStore, database_url: str) -> None:
    """Whoever listens learns that nothing comes any more, and can begin again."""
    async with listening(postgres) as (_, task):
        operator = await connect(database_url)
        await operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1",
            operator.get_server_pid(),
        )
        await operator.close()
        async with asyncio.timeout(WAIT_S_MAX):
            await task
    async with listening(postgres) as (ear, _):
        await postgres.tell_decided(["c1"])
        assert await ear.until(1) == ["c1"]


@pytest.mark.postgres
async def test_cannot_begin_while_the_database_is_away() -> None:
    """`Unavailable`, as of every other call."""
    store = await PostgresStore.open("postgresql://nobody@127.0.0.1:1/nowhere", "formstate-api")
    with pytest.raises(Unavailable):
        await store.hear_decided(lambda _ids: None, lambda: None)
    await store.close()
