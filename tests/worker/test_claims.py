"""Unique values: one email address, one user, whatever arrives together and whatever is refused."""

import pytest

from domain.erasure import BeginErasure, EraseUser, KeepUser
from domain.member import GrantLevel
from domain.organization import CreateOrganization
from domain.user import GrantRole, RegisterUser
from eventstore.records import DataKey
from tests.worker.bench import Bench

pytestmark = pytest.mark.usefixtures("logged")


def register(user_id: str, email: str = "hash") -> RegisterUser:
    """A registration."""
    return RegisterUser(
        user_id=user_id, email_hash=email, email_sealed="e", display_name_sealed=None, password_sealed="p"
    )


@pytest.mark.parametrize("shards", [1, 8])
async def test_the_first_of_two_has_the_address(shards: int) -> None:
    """Two registrations of one address in one batch, on one shard or on two: one user, one refusal, final."""
    bench = Bench(shards)
    ids = [await bench.send(f"user:u{number}", register(f"u{number}")) for number in range(6)]
    await bench.run()
    said = [await bench.said(each) for each in ids]
    assert sorted(status for status, _ in said) == ["applied"] + 5 * ["rejected"]
    assert {code for status, code in said if status == "rejected"} == {"email_taken"}
    if shards == 1:
        assert said[0][0] == "applied"


async def test_a_refused_registration_leaves_the_address_free() -> None:
    """The first is refused for another reason: the second, of the same batch, gets the address."""
    bench = Bench()
    late = await bench.send("user:u1", register("u1"), deadline=bench.at - 1)
    second = await bench.send("user:u2", register("u2"))
    await bench.run()
    assert (await bench.said(late))[1] == "deadline_passed"
    assert (await bench.said(second))[0] == "applied"


async def test_a_second_try_in_the_same_batch_keeps_the_address() -> None:
    """The refusal of the first try frees what that try took, not what the second was applied with."""
    bench = Bench()
    tried = await bench.send("user:u1", register("u1"), deadline=bench.at - 1)
    await bench.send("user:u1", register("u1"), command_id=tried, attempt="attempt-2")
    await bench.run()
    assert (await bench.said(tried))[0] == "applied"
    other = await bench.send("user:u2", register("u2"))
    await bench.run()
    assert (await bench.said(other))[1] == "email_taken"


async def test_a_late_refusal_does_not_free_what_another_command_holds() -> None:
    """A try that failed in the same batch as another's success comes again, and is refused for good."""
    bench = Bench()
    tried = await bench.send("user:u1", register("u1"), deadline=bench.at - 1)
    await bench.send("user:u1", register("u1"))
    await bench.run()
    await bench.send("user:u1", register("u1"), command_id=tried, attempt="attempt-2")
    await bench.run()
    assert (await bench.said(tried))[1] == "user_exists"
    other = await bench.send("user:u2", register("u2"))
    await bench.run()
    assert (await bench.said(other))[1] == "email_taken"


async def test_a_registration_refused_later_leaves_its_address_free() -> None:
    """A user who exists registers again with another address: refused, and the address is nobody's."""
    bench = Bench()
    await bench.send("user:u1", register("u1"))
    again = await bench.send("user:u1", register("u1", "other"))
    await bench.run()
    assert (await bench.said(again))[1] == "user_exists"
    free = await bench.send("user:u2", register("u2", "other"))
    await bench.run()
    assert (await bench.said(free))[0] == "applied"


async def test_commands_behind_a_contested_claim_keep_their_order() -> None:
    """The round ends before the second claim; what is behind it on its shard waits with it and is applied after it."""
    bench = Bench()
    await bench.send("user:u1", register("u1"), deadline=bench.at - 1)
    second = await bench.send("user:u2", register("u2"))
    role = await bench.send("user:u2", GrantRole(role="admin"))
    await bench.run()
    assert [(await bench.said(each))[0] for each in (second, role)] == ["applied", "applied"]
    assert await bench.next_offsets() == [3]


async def test_an_erased_users_address_is_free_for_the_next() -> None:
    """Within the erasure's own round it is still taken; from then on it is free, and the erased user's key is gone."""
    bench = Bench()
    await bench.send("user:u1", register("u1"))
    await bench.run()
    erased = await bench.send("user:u1", EraseUser())
    early = await bench.send("user:u2", register("u2"))
    await bench.run()
    assert ((await bench.said(erased))[0], (await bench.said(early))[1]) == ("applied", "email_taken")
    later = await bench.send("user:u3", register("u3"))
    await bench.run()
    assert (await bench.said(later))[0] == "applied"
    again = await bench.send("user:u1", register("u1", "another"))
    await bench.run()
    assert (await bench.said(again))[1] == "user_exists"


async def test_who_registers_and_is_erased_in_one_round_holds_nothing() -> None:
    """The claim is taken and given up in one transaction; the keys are barred all the same."""
    bench = Bench()
    await bench.store.add_data_key(DataKey(subject="user:u1", master_id="m", wrapped=b"k"))
    await bench.send("user:u1", register("u1"))
    await bench.send("user:u1", EraseUser())
    await bench.run()
    assert await bench.store.data_key("user:u1") is None
    free = await bench.send("user:u2", register("u2"))
    await bench.run()
    assert (await bench.said(free))[0] == "applied"


def found(user_id: str) -> CreateOrganization:
    """An organization of the user's."""
    return CreateOrganization(org_id="o", name_sealed="n", created_by=user_id)


@pytest.mark.parametrize("shards", [1, 8])
async def test_a_membership_begins_before_an_erasure_or_not_at_all(shards: int) -> None:
    """Of one batch too: what comes behind the erasure's beginning is refused, until the user is kept."""
    bench = Bench(shards)
    await bench.send("user:u1", register("u1"))
    await bench.run()
    first = [await bench.send(f"org:o{number}", found("u1")) for number in range(3)]
    await bench.run()
    begun = await bench.send("user:u1", BeginErasure(user_id="u1", erasure_id="e"))
    barred = await bench.send("org:o4", found("u1"))
    granted = await bench.send("org:o1", GrantLevel(user_id="u1", level="admin"))
    other = await bench.send("org:o5", found("u2"))
    await bench.run()
    assert [(await bench.said(each))[0] for each in (*first, begun, other)] == 5 * ["applied"]
    if shards == 1:
        assert [(await bench.said(each))[1] for each in (barred, granted)] == 2 * ["erasure_begun"]
    late = await bench.send("org:o6", found("u1"))
    await bench.run()
    assert (await bench.said(late))[1] == "erasure_begun"
    await bench.send("user:u1", KeepUser(erasure_id="e"))
    await bench.run()
    free = await bench.send("org:o7", found("u1"))
    await bench.run()
    assert (await bench.said(free))[0] == "applied"


async def test_an_erased_user_stays_barred() -> None:
    """After its erasure, and after the store was looked through again as after a restore."""
    bench = Bench()
    await bench.send("user:u1", register("u1"))
    await bench.send("user:u1", BeginErasure(user_id="u1", erasure_id="e"))
    await bench.send("user:u1", EraseUser(erasure_id="e"))
    await bench.run()
    await bench.store.erase_again()
    late = await bench.send("org:o1", found("u1"))
    await bench.run()
    assert (await bench.said(late))[1] == "erasure_begun"
