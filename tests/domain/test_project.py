"""A project: of one account, with a name and settings, archived and restored."""

from msgspec import UNSET

from domain.project import (
    AGGREGATE,
    CreateProject,
    ProjectArchived,
    ProjectCreated,
    ProjectRestored,
    ProjectUpdated,
    UpdateProject,
)
from tests.domain.scenario import T0, Scenario

CREATE = CreateProject(
    project_id="project_1", account_id="org_1", name_sealed="n", settings_sealed="s", created_by="ada"
)
CREATED = ProjectCreated(account_id="org_1", name_sealed="n", settings_sealed="s", created_by="ada", created_at=T0)


def test_a_project_is_made_once() -> None:
    """The same again is already so; of another account it is refused."""
    scenario = Scenario(AGGREGATE)
    assert scenario.when(CREATE) == [CREATED]
    assert scenario.answer["project_id"] == "project_1"
    assert scenario.when(CREATE) == []
    other = CreateProject(
        project_id="project_1", account_id="org_2", name_sealed="n", settings_sealed="s", created_by="ada"
    )
    assert scenario.refused(other).code == "project_exists"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_what_is_given_changes() -> None:
    """What is left out stays; the same again is no event."""
    scenario = Scenario(AGGREGATE, CREATED)
    change = UpdateProject(account_id="org_1", name_sealed="m")
    assert scenario.when(change) == [ProjectUpdated(name_sealed="m", settings_sealed="s", updated_at=T0)]
    assert scenario.when(change) == []
    assert scenario.when(UpdateProject(account_id="org_1")) == []
    assert scenario.answer == {"name_sealed": "m", "settings_sealed": "s", "status": "active", "updated_at": T0}


def test_a_project_is_archived_and_restored() -> None:
    """Each once; along with other changes if they are asked for."""
    scenario = Scenario(AGGREGATE, CREATED)
    archive = UpdateProject(account_id="org_1", status="archived")
    assert scenario.when(archive) == [ProjectArchived(archived_at=T0)]
    assert scenario.when(archive) == []
    restore = UpdateProject(account_id="org_1", status="active", settings_sealed="t")
    assert scenario.when(restore) == [
        ProjectUpdated(name_sealed="n", settings_sealed="t", updated_at=T0),
        ProjectRestored(restored_at=T0),
    ]
    assert restore.name_sealed is UNSET
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_another_accounts_project_is_not_there() -> None:
    """Nor one that was never made."""
    change = UpdateProject(account_id="org_2", name_sealed="m")
    assert Scenario(AGGREGATE, CREATED).refused(change).code == "project_not_found"
    assert Scenario(AGGREGATE).refused(change).code == "project_not_found"
