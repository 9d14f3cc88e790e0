"""Sealing: what goes in comes out, only at its place, only while the data key exists."""

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.lookup import LookupHash
from api.master_keys import MasterKeys, UnknownMasterKey, Unwrappable
from api.sealing import CACHED_S, Erased, Sealer, Unsealable
from eventstore.memory.store import MemoryStore
from eventstore.records import DataKey

OLD = MasterKeys({"old": b"o" * 32})
ROTATED = MasterKeys({"new": b"n" * 32, "old": b"o" * 32})


def store() -> MemoryStore:
    """A store with no keys in it."""
    return MemoryStore(1, lambda: 0)


@given(st.text(), st.text(), st.binary(max_size=2_000))
def test_round_trip(subject: str, place: str, plaintext: bytes) -> None:
    """What was sealed opens at its place, as text and as blob, also in another process."""

    async def scenario() -> None:
        shared = store()
        one, other = Sealer(shared, OLD), Sealer(shared, OLD)
        assert await other.open(subject, place, await one.seal(subject, place, plaintext)) == plaintext
        assert await other.open_blob(subject, place, await one.seal_blob(subject, place, plaintext)) == plaintext

    asyncio.run(scenario())


@given(
    st.tuples(st.text(), st.text()),
    st.tuples(st.text(), st.text()),
    st.binary(min_size=8, max_size=64),
)
def test_bound_to_subject_and_place(here: tuple[str, str], there: tuple[str, str], plaintext: bytes) -> None:
    """A sealed value that is moved to another subject or place does not open."""

    async def scenario() -> None:
        sealer = Sealer(store(), OLD)
        sealed = await sealer.seal(*here, plaintext)
        await sealer.seal(*there, b"so that this subject has a key too")
        if here != there:
            with pytest.raises((Unsealable, Erased)):
                await sealer.open(*there, sealed)
        assert plaintext.hex() not in sealed

    asyncio.run(scenario())


@given(st.binary(max_size=50), st.data())
def test_any_change_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """A sealed blob with one byte changed, added or missing never opens, and fails in one of two named ways."""

    async def scenario() -> None:
        sealer = Sealer(store(), OLD)
        sealed = await sealer.seal_blob("user:1", "place", plaintext)
        at = data.draw(st.integers(0, len(sealed) - 1))
        flipped = sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]
        for changed in (flipped, sealed[:at], sealed + b"x"):
            with pytest.raises((Unsealable, Erased)):
                await sealer.open_blob("user:1", "place", changed)

    asyncio.run(scenario())


@given(st.text())
def test_foreign_text_is_refused(text: str) -> None:
    """Text that was never sealed is refused, not crashed on."""

    async def scenario() -> None:
        with pytest.raises((Unsealable, Erased)):
            await Sealer(store(), OLD).open("user:1", "place", text)

    asyncio.run(scenario())


async def test_two_seals_differ() -> None:
    """The same text sealed twice looks different: nobody can tell equal secrets."""
    sealer = Sealer(store(), OLD)
    assert await sealer.seal("user:1", "place", b"text") != await sealer.seal("user:1", "place", b"text")


async def test_erased_after_the_cache_ends() -> None:
    """With the data key deleted nothing opens any more, at most 60 s later, and a new key does not bring it back."""
    shared, now = store(), [0.0]
    sealer = Sealer(shared, OLD, clock=lambda: now[0])
    sealed = await sealer.seal("user:1", "place", b"text")
    del shared._data_keys["user:1"]
    now[0] = CACHED_S
    with pytest.raises(Erased):
        await sealer.open("user:1", "place", sealed)
    await sealer.seal("user:1", "place", b"another text, under a new key")
    with pytest.raises(Erased):
        await sealer.open("user:1", "place", sealed)


async def test_cache_is_bounded() -> None:
    """However many subjects are sealed for, the cache keeps its bound."""
    sealer = Sealer(store(), OLD, cached_max=3)
    sealed = [await sealer.seal(f"user:{number}", "place", b"text") for number in range(10)]
    assert len(sealer._keys) == 3
    assert await sealer.open("user:0", "place", sealed[0]) == b"text"


async def test_rotation_of_master_keys() -> None:
    """A value from before a rotation opens with the old master key behind the new one, and from then on without it."""
    shared = store()
    sealed = await Sealer(shared, OLD).seal("user:1", "place", b"text")
    assert await Sealer(shared, ROTATED).open("user:1", "place", sealed) == b"text"
    assert await Sealer(shared, MasterKeys({"new": b"n" * 32})).open("user:1", "place", sealed) == b"text"


async def test_rotation_keeps_the_lookup_key() -> None:
    """Email addresses are found by the same hash after a rotation, also without the old master key."""
    shared = store()
    before = (await LookupHash.load(shared, OLD)).email("a@example.com")
    assert (await LookupHash.load(shared, ROTATED)).email("a@example.com") == before
    assert (await LookupHash.load(shared, MasterKeys({"new": b"n" * 32}))).email("a@example.com") == before


async def test_master_key_gone() -> None:
    """A master key that is no longer configured is named in the error."""
    shared = store()
    sealed = await Sealer(shared, OLD).seal("user:1", "place", b"text")
    with pytest.raises(UnknownMasterKey, match="old"):
        await Sealer(shared, MasterKeys({"new": b"n" * 32})).open("user:1", "place", sealed)


def test_wrapped_keys_stay_with_their_subject() -> None:
    """A row of data keys that is copied to another subject does not unwrap, nor does a damaged one."""
    row = OLD.new_data_key("user:1")
    for moved in (
        DataKey(subject="user:2", master_id="old", wrapped=row.wrapped),
        DataKey(subject="user:1", master_id="old", wrapped=row.wrapped[:-1]),
        DataKey(subject="user:1", master_id="old", wrapped=b""),
    ):
        with pytest.raises(Unwrappable):
            OLD.unwrap(moved)


@pytest.mark.parametrize("keys", [{}, {"short": b"x" * 31}, {"good": b"x" * 32, "long": b"x" * 33}])
def test_master_keys_have_their_size(keys: dict[str, bytes]) -> None:
    """Master keys of another size than 32 bytes are refused."""
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys(keys)


def test_the_key_id_tells_nothing() -> None:
    """The id that sealed values carry is a hash of the data key, cut short."""
    key = OLD.unwrap(OLD.new_data_key("user:1"))
    assert hashlib.sha256(key).hexdigest()[:12] not in repr(OLD.new_data_key("user:1"))
