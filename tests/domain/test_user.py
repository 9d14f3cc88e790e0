"""Users: registered once, with a password version that ends older tokens."""

import pytest

from domain.message import Command, Erasure
from domain.user import (
    AGGREGATE,
    ChangePassword,
    EraseUser,
    GrantRole,
    PasswordChanged,
    PasswordRehashed,
    ProfileUpdated,
    RegisterUser,
    RehashPassword,
    RoleGranted,
    UpdateProfile,
    User,
    UserErased,
    UserRegistered,
)
from tests.domain.scenario import T0, Scenario

REGISTER = RegisterUser(
    user_id="user_1", email_hash="hash", email_sealed="e", display_name_sealed="n", password_sealed="p"
)


def user() -> Scenario[User]:
    """A registered user."""
    scenario = Scenario(AGGREGATE)
    scenario.when(REGISTER)
    return scenario


def test_a_user_registers() -> None:
    """The event is sealed, the answer is what a login token needs."""
    scenario = user()
    assert scenario.events == [
        UserRegistered(
            email_hash="hash", email_sealed="e", display_name_sealed="n", password_sealed="p", registered_at=T0
        )
    ]
    assert scenario.answer == {"ver": 1, "role": "user", "user_id": "user_1"}


def test_an_address_is_claimed_for_the_user() -> None:
    """The claim names the refusal that its loser receives."""
    claim = REGISTER.claims()[0]
    assert (claim.kind, claim.value, claim.refused().code) == ("email", "hash", "email_taken")


def test_nobody_registers_twice() -> None:
    """Another registration of the same user changes nothing."""
    assert user().refused(REGISTER).code == "user_exists"


@pytest.mark.parametrize(
    "command",
    [
        UpdateProfile(display_name_sealed=None),
        ChangePassword(password_sealed="q", ver=1),
        RehashPassword(password_sealed="q", ver=1),
        GrantRole(role="admin"),
        EraseUser(),
    ],
)
def test_who_never_registered_is_not_found(command: Command) -> None:
    """Every other command needs a user."""
    assert Scenario(AGGREGATE).refused(command).code == "user_not_found"


def test_a_new_password_ends_older_tokens() -> None:
    """The version counts up; who verified the old one comes too late."""
    scenario = user()
    assert scenario.when(ChangePassword(password_sealed="q", ver=1)) == [PasswordChanged(password_sealed="q", ver=2)]
    assert scenario.answer["ver"] == 2
    assert scenario.refused(ChangePassword(password_sealed="r", ver=1)).code == "password_changed"
    assert scenario.refused(RehashPassword(password_sealed="r", ver=1)).code == "password_changed"


def test_a_rehash_keeps_tokens() -> None:
    """The same password under other parameters is no new password."""
    scenario = user()
    assert scenario.when(RehashPassword(password_sealed="q", ver=1)) == [PasswordRehashed(password_sealed="q")]
    assert scenario.answer["ver"] == 1


def test_a_change_to_what_is_already_so_is_no_event() -> None:
    """Name and role."""
    scenario = user()
    assert scenario.when(UpdateProfile(display_name_sealed="n")) == []
    assert scenario.when(UpdateProfile(display_name_sealed=None)) == [ProfileUpdated(display_name_sealed=None)]
    assert scenario.when(GrantRole(role="admin")) == [RoleGranted(role="admin")]
    assert scenario.when(GrantRole(role="admin")) == []
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_an_erased_user_is_gone_for_good() -> None:
    """The event says what is freed and made unreadable; nothing can be done with the user any more."""
    scenario = user()
    scenario.when(GrantRole(role="admin"))
    assert scenario.when(EraseUser()) == [UserErased(email_hash="hash", erased_at=T0)]
    assert scenario.answer == {"ver": 1, "role": "user", "erased_at": T0}
    assert scenario.refused(REGISTER).code == "user_exists"
    for command in (EraseUser(), UpdateProfile(display_name_sealed="n"), GrantRole(role="admin")):
        assert scenario.refused(command).code == "user_not_found"
    assert scenario.replayed() == scenario.state == scenario.snapshot()
    assert (scenario.state.email_hash, scenario.state.display_name_sealed) == ("", None)


def test_an_erasure_takes_the_keys_of_user_and_account_and_the_address() -> None:
    """What the worker does in the event's own transaction."""
    erasure = UserErased(email_hash="hash", erased_at=T0).erasure("user_1")
    assert erasure == Erasure(subjects=("user:user_1", "account:user_1"), claims=(("email", "hash"),))
