"""Keys and kept answers live outside the log."""

import asyncio

from eventstore.records import Batch, DataKey, KeptAnswer
from eventstore.store import Store
from tests.eventstore.rows import claimed


def key(wrapped: bytes, subject: str = "user:1") -> DataKey:
    """A data key."""
    return DataKey(subject=subject, master_id="m1", wrapped=wrapped)


def answer(command_id: str, **fields: object) -> KeptAnswer:
    """An answer that expires at 10."""
    defaults: dict[str, object] = {"attempt": "a", "sealed": b"\x00\xff", "expires_at": 10}
    return KeptAnswer(shard=0, command_id=command_id, **(defaults | fields))  # type: ignore[arg-type]  # fields by name


async def test_the_first_data_key_of_a_subject_stays(store: Store) -> None:
    """Whoever proposes a key gets the one that is stored: all seal with the same."""
    assert await store.data_key("user:1") is None
    proposals = [store.add_data_key(key(bytes([number]))) for number in range(8)]
    stored = await asyncio.gather(*proposals)
    assert len(set(stored)) == 1
    assert await store.data_key("user:1") == stored[0]
    assert await store.add_data_key(key(b"other", "user:2")) == key(b"other", "user:2")


async def test_keys_are_read_several_at_once(store: Store) -> None:
    """Each by its subject; who has none, or was erased, is left out."""
    [lease] = await claimed(store, "w")
    for subject in ("user:1", "user:2", "user:3"):
        await store.add_data_key(key(subject.encode(), subject))
    async with store.round("w", [lease]) as round_:
        await round_.write(Batch(keys_erased=["user:3"]))
    found = await store.data_keys(iter(["user:2", "user:3", "user:4", "user:1", "user:1"]))
    assert found == {subject: key(subject.encode(), subject) for subject in ("user:1", "user:2")}
    assert await store.data_keys([]) == {}


async def test_there_is_one_lookup_key(store: Store) -> None:
    """It is never replaced, whoever starts first, and is no subject's data key."""
    stored = await asyncio.gather(*(store.lookup_key(key(bytes([number]), "lookup")) for number in range(8)))
    assert len(set(stored)) == 1
    assert await store.lookup_key(key(b"late", "lookup")) == stored[0]
    assert await store.data_key("lookup") is None


async def test_keys_are_wrapped_anew_but_never_come_back(store: Store) -> None:
    """A rotation replaces what is stored; a subject that was erased, or never was, gets no key by it."""
    await store.add_data_key(key(b"old"))
    await store.lookup_key(key(b"old", "lookup"))
    await store.rewrap_data_key(key(b"old"), key(b"new"))
    await store.rewrap_data_key(key(b"old", "user:erased"), key(b"new", "user:erased"))
    await store.rewrap_lookup_key(key(b"old", "lookup"), key(b"new", "lookup"))
    assert await store.data_key("user:1") == key(b"new")
    assert await store.data_key("user:erased") is None
    assert await store.lookup_key(key(b"late", "lookup")) == key(b"new", "lookup")


async def test_a_key_that_was_made_since_is_not_replaced(store: Store) -> None:
    """Who read a key that was erased and made anew since does not put the erased one back in its place."""
    await store.add_data_key(key(b"second"))
    await store.lookup_key(key(b"second", "lookup"))
    await store.rewrap_data_key(key(b"first"), key(b"first, wrapped anew"))
    await store.rewrap_lookup_key(key(b"first", "lookup"), key(b"first, wrapped anew", "lookup"))
    assert await store.data_key("user:1") == key(b"second")
    assert await store.lookup_key(key(b"late", "lookup")) == key(b"second", "lookup")


async def test_a_kept_answer_is_never_replaced(store: Store) -> None:
    """A repeat gets the first answer, byte for byte."""
    assert await store.kept_answer(0, "command") is None
    await store.keep_answer(answer("command"))
    await store.keep_answer(answer("command", sealed=b"another", attempt="b"))
    assert await store.kept_answer(0, "command") == answer("command")


async def test_answers_past_their_time_are_purged(store: Store) -> None:
    """Purging deletes what expires by then, and nothing else."""
    for number in range(3):
        await store.keep_answer(answer(f"old-{number}"))
    await store.keep_answer(answer("young", expires_at=11))
    assert await store.purge(10) == 3
    assert await store.kept_answer(0, "old-2") is None
    assert await store.kept_answer(0, "young") is not None
