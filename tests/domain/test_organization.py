"""An organization: members and their levels, invitations for one use, and always an admin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.instant import DAY, SECOND
from domain.invitation import (
    ENDED_MAX,
    INVITATIONS_MAX,
    LASTS_MAX,
    AcceptInvitation,
    ForgetInvited,
    InvitationAccepted,
    InvitationExpired,
    InvitationRevoked,
    InvitedForgotten,
    InviteMember,
    MemberInvited,
    RevokeInvitation,
    SweepOrganization,
    address_subject,
)
from domain.member import (
    LEVELS,
    MEMBERS_MAX,
    ChangeMemberLevel,
    GrantLevel,
    LeaveForGood,
    Level,
    MemberAdded,
    MemberLevelChanged,
    MemberRemoved,
    RemoveMember,
    at_least,
)
from domain.message import Erasure, Event
from domain.organization import (
    AGGREGATE,
    CreateOrganization,
    Organization,
    OrganizationCreated,
    OrganizationRenamed,
    RenameOrganization,
)
from tests.domain.scenario import T0, Scenario

CREATE = CreateOrganization(org_id="org_1", name_sealed="n", created_by="ada")
CREATED = (
    OrganizationCreated(name_sealed="n", created_by="ada", created_at=T0),
    MemberAdded(user_id="ada", level="admin", added_at=T0),
)


def organization(*more: Event) -> Scenario[Organization]:
    """Ada's organization, and what happened since."""
    return Scenario(AGGREGATE, *CREATED, *more)


def member(user_id: str, level: Level = "read") -> MemberAdded:
    """Somebody who joined."""
    return MemberAdded(user_id=user_id, level=level, added_at=T0)


def invite(number: int = 1, *, by: str = "ada", members_max: int | None = None, lasts: int = DAY) -> InviteMember:
    """An invitation of an address of its own."""
    return InviteMember(
        by=by,
        invitation_id=f"inv_{number}",
        email_hash=f"hash {number}",
        email_sealed="e",
        level="write",
        lasts=lasts,
        members_max=members_max,
    )


def accept(user_id: str, number: int = 1, members_max: int | None = None) -> AcceptInvitation:
    """The holder of an invitation accepts it."""
    return AcceptInvitation(invitation_id=f"inv_{number}", user_id=user_id, members_max=members_max)


def test_its_creator_is_its_first_admin() -> None:
    """An organization is never without an admin, from its first event on."""
    scenario = Scenario(AGGREGATE)
    assert scenario.when(CREATE) == list(CREATED)
    assert scenario.answer == {"org_id": "org_1", "name_sealed": "n"}
    assert scenario.refused(CREATE).code == "organization_exists"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_nothing_can_be_asked_of_one_that_is_not_there() -> None:
    """There is no such organization, whatever is asked."""
    for command in (
        RenameOrganization(by="ada", name_sealed="m"),
        invite(),
        accept("bob"),
        RevokeInvitation(by="ada", invitation_id="inv_1"),
        ChangeMemberLevel(by="ada", user_id="ada", level="read"),
        RemoveMember(by="ada", user_id="ada"),
    ):
        assert Scenario(AGGREGATE).refused(command).code == "organization_not_found"


def test_a_name_can_change() -> None:
    """By an admin."""
    scenario = organization()
    assert scenario.when(RenameOrganization(by="ada", name_sealed="m")) == [OrganizationRenamed(name_sealed="m")]
    assert scenario.when(RenameOrganization(by="ada", name_sealed="m")) == []


@pytest.mark.parametrize("level", ["read", "write"])
def test_only_admins_administer(level: Level) -> None:
    """Who is a member is told what is missing; a stranger is told that there is nothing."""
    scenario = organization(member("bob", level), member("cyd", "admin"))
    for by, code in (("bob", "missing_level"), ("eve", "organization_not_found")):
        for command in (
            RenameOrganization(by=by, name_sealed="m"),
            invite(by=by),
            RevokeInvitation(by=by, invitation_id="inv_1"),
            ChangeMemberLevel(by=by, user_id="cyd", level="read"),
            RemoveMember(by=by, user_id="cyd"),
        ):
            assert scenario.refused(command).code == code
    assert scenario.refused(RemoveMember(by="eve", user_id="eve")).code == "organization_not_found"


def test_an_invitation_makes_one_membership() -> None:
    """Accepted twice at once by two people, the second is refused; by the same person it is already so."""
    scenario = organization()
    [invited] = scenario.when(invite())
    assert invited == MemberInvited(
        invitation_id="inv_1",
        email_hash="hash 1",
        email_sealed="e",
        level="write",
        invited_by="ada",
        invited_at=T0,
        expires_at=T0 + DAY,
    )
    assert scenario.answer == {"invitation_id": "inv_1", "expires_at": T0 + DAY}
    assert scenario.when(accept("bob")) == [
        InvitationAccepted(invitation_id="inv_1", user_id="bob", accepted_at=T0),
        MemberAdded(user_id="bob", level="write", added_at=T0),
    ]
    assert scenario.answer == {"user_id": "bob", "level": "write"}
    assert scenario.when(accept("bob")) == []
    assert scenario.refused(accept("cyd")).code == "invitation_closed"
    assert scenario.refused(RevokeInvitation(by="ada", invitation_id="inv_1")).code == "invitation_closed"
    scenario.when(RemoveMember(by="ada", user_id="bob"))
    assert scenario.refused(accept("bob")).code == "invitation_closed"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_an_invitation_ends() -> None:
    """By its time, or when an admin revokes it, which may be said twice; an unknown one is not there."""
    scenario = organization()
    scenario.when(invite(1))
    scenario.when(invite(2))
    assert len(scenario.when(RevokeInvitation(by="ada", invitation_id="inv_2"))) == 1
    assert scenario.when(RevokeInvitation(by="ada", invitation_id="inv_2")) == []
    assert scenario.refused(accept("bob"), at=T0 + DAY).code == "invitation_expired"
    assert scenario.refused(accept("bob", 2)).code == "invitation_closed"
    assert scenario.refused(accept("bob", 3)).code == "invitation_not_found"


def test_an_address_is_invited_once_at_a_time() -> None:
    """A second invitation of the address is refused and names the first, until that has ended."""
    scenario = organization()
    again = InviteMember(
        by="ada",
        invitation_id="inv_2",
        email_hash="hash 1",
        email_sealed="f",
        level="read",
        lasts=DAY,
        members_max=None,
    )
    scenario.when(invite(1))
    refused = scenario.refused(again)
    assert (refused.code, refused.detail) == ("already_invited", {"invitation_id": "inv_1"})
    assert len(scenario.when(again, at=T0 + DAY)) == 2
    assert scenario.refused(accept("bob", 1)).code == "invitation_expired"


def test_an_address_goes_when_its_invitation_ends() -> None:
    """However that is: its key goes in the very transaction of the event."""
    for command, at, event in (
        (accept("bob"), T0, InvitationAccepted),
        (RevokeInvitation(by="ada", invitation_id="inv_1"), T0, InvitationRevoked),
        (SweepOrganization(), T0 + DAY, InvitationExpired),
        (ForgetInvited(email_hash="hash 1"), T0, InvitedForgotten),
    ):
        scenario = organization()
        scenario.when(invite())
        assert AGGREGATE.next_due(scenario.state) == T0 + DAY
        first = scenario.when(command, at=at)[0]
        assert isinstance(first, event)
        assert first.erasure("org_1") == Erasure(subjects=(address_subject("org_1", "inv_1"),), claims=())
        assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_who_is_erased_is_forgotten_once_and_everywhere_in_it() -> None:
    """Nobody else's address goes; the invitation works on for whoever holds it, and blocks the address till it ends."""
    scenario = organization()
    scenario.when(invite(1))
    scenario.when(invite(2))
    forget = ForgetInvited(email_hash="hash 1")
    assert scenario.when(forget) == [InvitedForgotten(invitation_id="inv_1", forgotten_at=T0)]
    assert scenario.when(forget) == scenario.when(ForgetInvited(email_hash="none")) == []
    assert len(scenario.when(accept("bob", 1))) == 2


def test_what_has_expired_is_told_apart_and_can_be_revoked_to_no_effect() -> None:
    """Nothing more is due then."""
    scenario = organization()
    scenario.when(invite())
    expired = scenario.when(SweepOrganization(), at=T0 + DAY)
    assert expired == [InvitationExpired(invitation_id="inv_1", expired_at=T0 + DAY)]
    assert AGGREGATE.next_due(scenario.state) is None
    assert scenario.when(RevokeInvitation(by="ada", invitation_id="inv_1")) == []
    assert scenario.refused(accept("bob")).code == "invitation_expired"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


@pytest.mark.parametrize("lasts", [0, -1, SECOND, LASTS_MAX + 1])
def test_an_invitation_lasts_a_sane_time(lasts: int) -> None:
    """Neither shorter than a mail takes nor for ever."""
    assert organization().refused(invite(lasts=lasts)).code == "invalid_expiry"


def test_a_member_cannot_join_again() -> None:
    """Its level is an admin's to change; the invitation stays open for somebody else."""
    scenario = organization()
    scenario.when(invite())
    assert scenario.refused(accept("ada")).code == "already_member"
    assert len(scenario.when(accept("bob"))) == 2


def test_seats_are_the_plans() -> None:
    """What is taken stays when a plan shrinks; no more are given, at the invitation and when it is accepted."""
    scenario = organization(member("bob"))
    refused = scenario.refused(invite(members_max=2))
    assert (refused.code, refused.detail, refused.curable) == ("seats_used_up", {"limit": 2}, True)
    scenario.when(invite(members_max=3))
    assert scenario.refused(accept("cyd", members_max=1)).code == "seats_used_up"
    assert len(scenario.when(accept("cyd", members_max=3))) == 2


def test_everything_is_bounded() -> None:
    """Members, open invitations, and what is remembered of ended ones."""
    full = organization(*(member(f"user_{number}") for number in range(MEMBERS_MAX - 1)))
    assert full.refused(invite()).code == "too_many_members"
    scenario = organization()
    for number in range(INVITATIONS_MAX):
        scenario.when(invite(number))
    assert scenario.refused(invite(INVITATIONS_MAX)).code == "too_many_invitations"
    for number in range(ENDED_MAX + 10):
        if number >= INVITATIONS_MAX:
            scenario.when(invite(number))
        scenario.when(RevokeInvitation(by="ada", invitation_id=f"inv_{number}"))
    assert len(scenario.state.invitations.ended) == ENDED_MAX
    assert not scenario.state.invitations.open


def test_the_last_admin_stays() -> None:
    """Of two who leave at once, one stays; nor can the last one be demoted, by itself or by whom it just demoted."""
    scenario = organization(member("bob", "admin"), member("cyd", "write"))
    assert scenario.when(RemoveMember(by="ada", user_id="ada")) == [
        MemberRemoved(user_id="ada", left=True, removed_at=T0)
    ]
    assert scenario.refused(RemoveMember(by="bob", user_id="bob")).code == "last_admin"
    assert scenario.refused(ChangeMemberLevel(by="bob", user_id="bob", level="write")).code == "last_admin"
    assert scenario.when(ChangeMemberLevel(by="bob", user_id="bob", level="admin")) == []
    scenario.when(ChangeMemberLevel(by="bob", user_id="cyd", level="admin"))
    assert scenario.when(ChangeMemberLevel(by="cyd", user_id="bob", level="read")) == [
        MemberLevelChanged(user_id="bob", level="read")
    ]
    assert scenario.refused(ChangeMemberLevel(by="bob", user_id="cyd", level="read")).code == "missing_level"


def test_who_is_erased_leaves() -> None:
    """Also as the only member, but not from others without an admin; to have left already is no error."""
    scenario = organization(member("bob"))
    assert scenario.refused(LeaveForGood(user_id="ada")).code == "last_admin"
    assert len(scenario.when(LeaveForGood(user_id="bob"))) == 1
    assert scenario.when(LeaveForGood(user_id="bob")) == []
    assert scenario.when(LeaveForGood(user_id="ada")) == [MemberRemoved(user_id="ada", left=True, removed_at=T0)]
    assert scenario.state.members == {}
    assert scenario.refused(invite()).code == "organization_not_found"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_nobody_is_let_in_by_an_invitation_of_nobody() -> None:
    """Whose last member is gone has no admin that could look after members; once it has one, the invitation is good."""
    scenario = organization()
    scenario.when(invite())
    scenario.when(LeaveForGood(user_id="ada"))
    assert scenario.refused(accept("bob")).code == "invitation_closed"
    scenario.when(GrantLevel(user_id="cyd", level="admin"))
    scenario.when(accept("bob"))
    assert scenario.state.members == {"cyd": "admin", "bob": "write"}


def test_an_operator_can_put_somebody_in() -> None:
    """Also where nobody is left; the last admin stays one."""
    scenario = organization()
    scenario.when(LeaveForGood(user_id="ada"))
    assert scenario.when(GrantLevel(user_id="bob", level="admin")) == [member("bob", "admin")]
    assert scenario.when(GrantLevel(user_id="bob", level="admin")) == []
    assert scenario.refused(GrantLevel(user_id="bob", level="read")).code == "last_admin"
    scenario.when(GrantLevel(user_id="cyd", level="read"))
    assert scenario.when(GrantLevel(user_id="cyd", level="write")) == [MemberLevelChanged(user_id="cyd", level="write")]
    assert scenario.answer == {"user_id": "cyd", "level": "write"}


def test_levels_include_each_other() -> None:
    """Of `read`, `write` and `admin` each includes those before it."""
    assert [[at_least(level, needed) for needed in LEVELS] for level in LEVELS] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


PEOPLE = st.sampled_from(["ada", "bob", "cyd", "dan"])
COMMANDS = st.one_of(
    st.builds(ChangeMemberLevel, by=PEOPLE, user_id=PEOPLE, level=st.sampled_from(LEVELS)),
    st.builds(RemoveMember, by=PEOPLE, user_id=PEOPLE),
    st.builds(LeaveForGood, user_id=PEOPLE),
    st.builds(invite, st.integers(1, 5), by=PEOPLE, members_max=st.just(3)),
    st.builds(accept, PEOPLE, st.integers(1, 5), st.just(3)),
    st.builds(RevokeInvitation, by=PEOPLE, invitation_id=st.integers(1, 5).map(lambda number: f"inv_{number}")),
)


@given(st.lists(COMMANDS, max_size=40))
def test_whatever_is_asked_there_is_an_admin_and_no_seat_too_many(commands: list[object]) -> None:
    """For every order of commands; each invitation made at most one member; a replay leads to the same."""
    scenario = organization()
    for command in commands:
        try:
            scenario.when(command)  # type: ignore[arg-type]
        except DomainError:
            continue
        assert "admin" in scenario.state.members.values() or not scenario.state.members
        assert len(scenario.state.members) <= 3
    accepted = [event.invitation_id for event in scenario.events if isinstance(event, InvitationAccepted)]
    assert len(accepted) == len(set(accepted))
    assert scenario.replayed() == scenario.state == scenario.snapshot()
