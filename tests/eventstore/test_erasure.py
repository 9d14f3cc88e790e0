"""An erased key is gone with the event that erased it, and nobody can make another one in its place."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import invitation
from domain.message import Event
from eventstore.erasure import CLOSING, INVITATION
from eventstore.errors import KeyErased
from eventstore.records import Batch, ClaimRow, DataKey, Lease
from eventstore.store import Store
from tests.eventstore.rows import appending, claim_row, claimed, event, write


def key(subject: str, wrapped: bytes = b"secret") -> DataKey:
    """A data key."""
    return DataKey(subject=subject, master_id="m1", wrapped=wrapped)


async def test_a_key_goes_with_the_round(store: Store) -> None:
    """Erased when the round is committed, others stay; whoever proposes another one is told."""
    [lease] = await claimed(store, "w")
    await store.add_data_key(key("user:1"))
    await store.add_data_key(key("user:2"))
    await write(store, "w", [lease], Batch(keys_erased=["user:1", "account:1", "user:1"]))
    assert await store.data_key("user:1") is None
    assert await store.data_key("user:2") == key("user:2")
    for subject in ("user:1", "account:1"):
        with pytest.raises(KeyErased):
            await store.add_data_key(key(subject, b"another"))
        assert await store.data_key(subject) is None


async def test_a_rolled_back_round_erases_nothing(store: Store) -> None:
    """All or nothing: without its event there is no erasure."""
    [lease] = await claimed(store, "w")
    await store.add_data_key(key("user:1"))

    async def fail() -> None:
        async with store.round("w", [lease]) as round_:
            await round_.write(Batch(keys_erased=["user:1"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.data_key("user:1") == key("user:1")


async def test_an_erased_key_is_not_wrapped_anew(store: Store) -> None:
    """Who has read it a moment before does not bring it back by rotating the master key."""
    [lease] = await claimed(store, "w")
    await store.add_data_key(key("user:1"))
    await write(store, "w", [lease], Batch(keys_erased=["user:1"]))
    await store.rewrap_data_key(key("user:1"), key("user:1", b"wrapped anew"))
    assert await store.data_key("user:1") is None


async def take(store: Store, lease: Lease, claim: ClaimRow) -> bool:
    """Whether the claim could be taken."""
    async with store.round("w", [lease]) as round_:
        return not await round_.take_claims([claim])


async def test_a_stream_gives_up_its_own_claims_only(store: Store) -> None:
    """Whichever of its commands took them; what is another stream's stays."""
    [lease] = await claimed(store, "w")
    assert await take(store, lease, claim_row("a", "user:1", command_id="of long ago"))
    assert await take(store, lease, claim_row("b", "user:2"))
    released = [claim_row("a", "user:1", command_id=""), claim_row("b", "user:1", command_id="")]
    await write(store, "w", [lease], Batch(claims_released=released))
    assert await take(store, lease, claim_row("a", "user:3"))
    assert not await take(store, lease, claim_row("b", "user:3"))


async def test_what_a_restore_brings_back_is_erased_again(store: Store) -> None:
    """The log says who was erased: key and claim go once more, and only theirs."""
    [lease] = await claimed(store, "w")
    erased = replace(event(lease.shard, "user:1", 1, 1), type="user.erased")
    await write(store, "w", [lease], appending([erased]))  # the keys were not in that backup, the event was
    for subject in ("user:1", "account:1", "user:2"):
        await store.add_data_key(key(subject))
    assert await take(store, lease, claim_row("a", "user:1"))
    assert await take(store, lease, claim_row("b", "user:2"))
    assert await store.erase_again() == 2
    assert await store.erase_again() == 0
    assert await store.data_key("user:1") is None
    assert await store.data_key("account:1") is None
    assert await store.data_key("user:2") == key("user:2")
    with pytest.raises(KeyErased):
        await store.add_data_key(key("user:1"))
    assert await take(store, lease, claim_row("a", "user:3"))
    assert not await take(store, lease, claim_row("b", "user:3"))


async def test_a_restore_brings_back_no_address_of_an_ended_invitation(store: Store) -> None:
    """Its organization's stream tells that it ended; open ones and other organizations' stay readable."""
    [lease] = await claimed(store, "w")
    ended = replace(
        event(lease.shard, "org:org_1", 1, 1), type="org.invitation_revoked", payload=b'{"invitation_id":"inv_1"}'
    )
    opened = replace(event(lease.shard, "org:org_1", 2, 2), type="org.member_invited", payload=b'"inv_2"')
    await write(store, "w", [lease], appending([ended, opened]))
    subjects = ("invitation:org_1:inv_1", "invitation:org_1:inv_2", "invitation:org_2:inv_1")
    for subject in subjects:
        await store.add_data_key(key(subject))
    assert await store.erase_again() == 1
    assert await store.erase_again() == 0
    assert [await store.data_key(subject) is None for subject in subjects] == [True, False, False]
    with pytest.raises(KeyErased):
        await store.add_data_key(key(subjects[0]))


async def test_the_tags_of_closing_events_are_the_domains() -> None:
    """What the store looks for by its tag takes the key along in the domain, and nothing else does."""
    found = {
        str(each.__struct_config__.tag): each(**_fields(each)).erasure("org_1")
        for each in invitation.EVENTS
        if each is not invitation.MemberInvited
    }
    assert set(found) == set(CLOSING)
    assert {erasure and erasure.subjects for erasure in found.values()} == {(f"{INVITATION}org_1:inv_1",)}


def _fields(event_type: type[Event]) -> dict[str, Any]:
    names = event_type.__struct_fields__
    return {name: "inv_1" if name == "invitation_id" else 1 if name.endswith("_at") else "u" for name in names}
