"""Users: registered once, with a password version that ends older tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.erasure import EraseUser, UserErased
from domain.message import Command, Erasure
from domain.user import (
    AGGREGATE,
    ROLES,
    ChangePassword,
    GrantRole,
    IdentityLinked,
    LinkIdentity,
    PasswordChanged,
    PasswordRehashed,
    ProfileUpdated,
    RegisterUser,
    RehashPassword,
    Role,
    RoleGranted,
    UpdateProfile,
    User,
    UserRegistered,
    lower_role,
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


def link(role: Role = "developer", said_at: int = 10, issuer: str = "issuer") -> LinkIdentity:
    """What an external token says of its user."""
    return LinkIdentity(issuer_hash=issuer, identity_sealed="i", role=role, said_at=said_at, display_name_sealed="n")


def test_an_identity_is_linked_once() -> None:
    """The second of two that see it at once finds it linked; there is no password and no address."""
    scenario = Scenario(AGGREGATE)
    assert scenario.when(link()) == [
        IdentityLinked(
            issuer_hash="issuer",
            identity_sealed="i",
            role="developer",
            said_at=10,
            linked_at=T0,
            display_name_sealed="n",
        )
    ]
    assert scenario.when(link()) == []
    assert link().claims() == ()
    for command in (ChangePassword(password_sealed="q", ver=1), RehashPassword(password_sealed="q", ver=1)):
        assert scenario.refused(command).code == "no_password"
    assert scenario.refused(REGISTER).code == "user_exists"
    assert scenario.refused(link(issuer="another")).code == "user_exists"
    assert user().refused(link()).code == "user_exists"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_an_erased_identity_is_not_linked_again() -> None:
    """Its token goes on being good at the provider, and opens nothing here."""
    scenario = Scenario(AGGREGATE)
    scenario.when(link())
    assert scenario.when(EraseUser()) == [UserErased(email_hash="", erased_at=T0)]
    assert UserErased(email_hash="", erased_at=T0).erasure("user_1").claims == ()
    assert scenario.refused(link(said_at=11)).code == "user_erased"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_the_newest_token_says_the_role() -> None:
    """A newer token raises and lowers, an older one does neither, and of two of one second the lower one counts."""
    scenario = Scenario(AGGREGATE)
    scenario.when(link("developer", 10))
    assert scenario.when(link("admin", 10)) == []
    assert scenario.when(link("user", 9)) == []
    assert scenario.when(link("user", 10)) == [RoleGranted(role="user", said_at=10)]
    assert scenario.when(link("admin", 11)) == [RoleGranted(role="admin", said_at=11)]
    assert scenario.when(link("user", 12)) == [RoleGranted(role="user", said_at=12)]
    assert scenario.when(link("admin", 11)) == []
    assert scenario.answer["role"] == "user"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_the_role_of_an_external_user_is_its_providers_business() -> None:
    """An operator changes it there: here it would last until the next token."""
    scenario = Scenario(AGGREGATE)
    scenario.when(link())
    assert scenario.refused(GrantRole(role="admin")).code == "role_from_provider"


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.integers(0, 5)), min_size=1, max_size=12))
def test_what_a_token_took_no_older_one_gives_back(tokens: list[tuple[Role, int]]) -> None:
    """In whatever order tokens are seen: only one newer than all that changed the role before it raises it."""
    scenario = Scenario(AGGREGATE)
    role, said_at = tokens[0]
    for said, at in tokens:
        for event in scenario.when(link(said, at)):
            if isinstance(event, RoleGranted):
                lowered = lower_role(event.role, role) == event.role
                assert event.said_at > said_at or (lowered and event.said_at == said_at)
                role, said_at = event.role, event.said_at
        assert (scenario.state.role, scenario.state.role_said_at) == (role, said_at)
    assert scenario.replayed() == scenario.state
