"""Read models of organizations and projects against their aggregates: what is shown is what is decided on."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from domain.envelope import Actor
from domain.errors import DomainError
from domain.member import MemberAdded, MemberLevelChanged, MemberRemoved
from domain.message import Command
from domain.organization import Organization, RenameOrganization
from domain.project import AGGREGATE as PROJECTS
from domain.project import CreateProject, UpdateProject
from domain.recorded import Metadata, Recorded
from projections import invitations, members, memberships, organizations, projects, stamps
from projections.members import membership_id
from tests.domain.scenario import T0, Scenario
from tests.domain.test_organization import COMMANDS, accept, invite, organization
from tests.projections.histories import folded

METADATA = Metadata(command_id="c", account="org_1", actor=Actor(kind="user", id="ada"))


def recorded(scenario: Scenario, stream: str = "org:org_1") -> list[Recorded]:  # type: ignore[type-arg]
    """All events of a scenario at their places."""
    return [
        Recorded(
            stream=stream,
            entity_id=stream.partition(":")[2],
            version=place,
            shard=0,
            seq=place,
            at=scenario.at,
            metadata=METADATA,
            event=event,
        )
        for place, event in enumerate(scenario.events, start=1)
    ]


def lived(commands: list[Command]) -> Scenario[Organization]:
    """An organization after these commands, refused or not."""
    scenario = organization()
    for command in commands:
        with suppress(DomainError):
            scenario.when(command)
    return scenario


@given(st.lists(COMMANDS, max_size=30))
def test_members_are_the_aggregates(commands: list[Command]) -> None:
    """By organization and by user, whatever happened; each change of authority moved the membership's stamp."""
    scenario = lived(commands)
    history = recorded(scenario)
    by_org, by_user = folded(members.PROJECTION, history), folded(memberships.PROJECTION, history)
    assert by_org == by_user
    assert {view.user_id: view.level for view in by_org.values()} == scenario.state.members
    assert all(key == membership_id("org_1", view.user_id) for key, view in by_org.items())
    assert {members.PROJECTION.owner(view) for view in by_org.values()} <= {"org_1"}
    assert {memberships.PROJECTION.owner(view) for view in by_user.values()} == set(scenario.state.members)
    stamped = {
        membership_id("org_1", each.event.user_id): each.seq
        for each in history
        if isinstance(each.event, MemberAdded | MemberLevelChanged | MemberRemoved)
    }
    assert {key: stamp.seq for key, stamp in folded(stamps.PROJECTION, history).items()} == stamped


@given(st.lists(COMMANDS, max_size=30))
def test_invitations_are_the_aggregates(commands: list[Command]) -> None:
    """Open ones are open in both; of an ended one the address is forgotten."""
    scenario = lived(commands)
    views = folded(invitations.PROJECTION, recorded(scenario))
    assert {key for key, view in views.items() if view.ended is None} == set(scenario.state.invitations.open)
    assert {
        key: view.accepted_by or "" for key, view in views.items() if view.ended is not None
    } == scenario.state.invitations.ended
    assert all((view.email_sealed is None) == (view.ended is not None) for view in views.values())


def test_an_invitations_status_is_told_by_the_clock() -> None:
    """Open until it expires; what ended stays as it ended."""
    scenario = organization()
    scenario.when(invite(1))
    scenario.when(invite(2))
    scenario.when(accept("bob", 2))
    views = folded(invitations.PROJECTION, recorded(scenario))
    end = views["inv_1"].expires_at
    assert [views["inv_1"].status_at(now) for now in (T0, end - 1, end)] == ["open", "open", "expired"]
    assert views["inv_2"].status_at(end) == "accepted"


def test_an_organization_is_shown_by_its_name() -> None:
    """As it is now."""
    scenario = organization()
    scenario.when(RenameOrganization(by="ada", name_sealed="m"))
    view = folded(organizations.PROJECTION, recorded(scenario))["org_1"]
    assert (view.id, view.name_sealed, view.created_by, view.created_at) == ("org_1", "m", "ada", T0)


def test_a_project_is_shown_as_it_is() -> None:
    """After each change; archiving moves its stamp."""
    scenario = Scenario(PROJECTS)
    scenario.when(
        CreateProject(project_id="project_1", account_id="a", name_sealed="n", settings_sealed="s", created_by="ada")
    )
    scenario.when(UpdateProject(account_id="a", name_sealed="m", status="archived"), at=T0 + 1)
    history = recorded(scenario, "project:project_1")
    view = folded(projects.PROJECTION, history)["project_1"]
    assert (view.account_id, view.name_sealed, view.settings_sealed, view.status) == ("a", "m", "s", "archived")
    assert (view.created_at, view.updated_at) == (T0, T0 + 1)
    assert folded(stamps.PROJECTION, history)["project_1"].seq == 3
