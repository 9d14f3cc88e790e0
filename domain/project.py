"""A project of an account: a name and settings (both sealed), and whether it is archived.

Keys and tokens can be bound to a project; they see nothing beside it, and nothing at all while it is archived.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from domain.aggregate import Aggregate, Answer
from domain.errors import Conflict, NotFound
from domain.instant import Instant
from domain.message import Command, Event

ProjectStatus: TypeAlias = Literal["active", "archived"]


class CreateProject(Command, frozen=True, kw_only=True, tag="project.create"):
    """Makes a project of an account; the same again is already so."""

    category = "project"
    project_id: str
    account_id: str
    name_sealed: str
    settings_sealed: str
    created_by: str


class UpdateProject(Command, frozen=True, kw_only=True, tag="project.update"):
    """Changes name, settings or status; what is left out stays. `account_id` is the account that asks."""

    category = "project"
    account_id: str
    name_sealed: str | UnsetType = UNSET
    settings_sealed: str | UnsetType = UNSET
    status: ProjectStatus | UnsetType = UNSET


class ProjectCreated(Event, frozen=True, kw_only=True, tag="project.created"):
    """The project exists."""

    account_id: str
    name_sealed: str
    settings_sealed: str
    created_by: str
    created_at: Instant


class ProjectUpdated(Event, frozen=True, kw_only=True, tag="project.updated"):
    """Name and settings as they are now."""

    name_sealed: str
    settings_sealed: str
    updated_at: Instant


class ProjectArchived(Event, frozen=True, kw_only=True, tag="project.archived"):
    """What is bound to the project no longer works."""

    archived_at: Instant


class ProjectRestored(Event, frozen=True, kw_only=True, tag="project.restored"):
    """What is bound to the project works again."""

    restored_at: Instant


class Project(Struct, kw_only=True):
    """What decisions need to know of a project; `account_id` is empty while there is none."""

    account_id: str = ""
    name_sealed: str = ""
    settings_sealed: str = ""
    status: ProjectStatus = "active"
    updated_at: Instant = 0


COMMANDS = (CreateProject, UpdateProject)
EVENTS = (ProjectCreated, ProjectUpdated, ProjectArchived, ProjectRestored)
ProjectCommand: TypeAlias = CreateProject | UpdateProject
ProjectEvent: TypeAlias = ProjectCreated | ProjectUpdated | ProjectArchived | ProjectRestored


def decide(project: Project, command: ProjectCommand, at: Instant) -> Sequence[ProjectEvent]:
    """See each command. `NotFound` for a project that is not the account's."""
    if isinstance(command, UpdateProject):
        return _update(project, command, at)
    if project.account_id:
        if project.account_id != command.account_id:
            raise Conflict("project_exists", "There is a project with this id.")
        return []
    return [
        ProjectCreated(
            account_id=command.account_id,
            name_sealed=command.name_sealed,
            settings_sealed=command.settings_sealed,
            created_by=command.created_by,
            created_at=at,
        )
    ]


def _update(project: Project, command: UpdateProject, at: Instant) -> Sequence[ProjectEvent]:
    if not project.account_id or project.account_id != command.account_id:
        raise NotFound("project_not_found", "There is no such project.")
    events: list[ProjectEvent] = []
    name = project.name_sealed if command.name_sealed is UNSET else command.name_sealed
    settings = project.settings_sealed if command.settings_sealed is UNSET else command.settings_sealed
    if (name, settings) != (project.name_sealed, project.settings_sealed):
        events.append(ProjectUpdated(name_sealed=name, settings_sealed=settings, updated_at=at))
    if command.status is not UNSET and command.status != project.status:
        archived = command.status == "archived"
        events.append(ProjectArchived(archived_at=at) if archived else ProjectRestored(restored_at=at))
    return events


def evolve(project: Project, event: ProjectEvent) -> Project:
    """Writes down what happened."""
    match event:
        case ProjectCreated():
            project.account_id = event.account_id
            project.name_sealed, project.settings_sealed = event.name_sealed, event.settings_sealed
            project.updated_at = event.created_at
        case ProjectUpdated():
            project.name_sealed, project.settings_sealed = event.name_sealed, event.settings_sealed
            project.updated_at = event.updated_at
        case ProjectArchived():
            project.status, project.updated_at = "archived", event.archived_at
        case ProjectRestored():
            project.status, project.updated_at = "active", event.restored_at
    return project


def answer(project: Project, command: ProjectCommand, _events: Sequence[Event]) -> Answer:
    """The project as it is after the command, and which one was made."""
    made: Answer = {"project_id": command.project_id} if isinstance(command, CreateProject) else {}
    return made | {
        "name_sealed": project.name_sealed,
        "settings_sealed": project.settings_sealed,
        "status": project.status,
        "updated_at": project.updated_at,
    }


AGGREGATE = Aggregate(
    category="project",
    state=Project,
    commands=COMMANDS,
    events=EVENTS,
    decide=decide,
    evolve=evolve,
    answer=answer,
)
