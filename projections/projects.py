"""Projects by id, and those of an account. Name and settings are sealed under the owner's data key."""

from msgspec import Struct, structs

from domain.instant import Instant
from domain.project import ProjectArchived, ProjectCreated, ProjectRestored, ProjectStatus, ProjectUpdated
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, instant_sort, read_page_everywhere
from projections.projection import Projection

_EVENTS = (ProjectCreated, ProjectUpdated, ProjectArchived, ProjectRestored)


class ProjectView(Struct, frozen=True, kw_only=True):
    """A project."""

    id: str
    account_id: str
    name_sealed: str
    settings_sealed: str
    created_by: str
    created_at: Instant
    updated_at: Instant
    status: ProjectStatus = "active"


def _evolve(view: ProjectView | None, recorded: Recorded) -> ProjectView | None:
    event = recorded.event
    if isinstance(event, ProjectCreated):
        return ProjectView(
            id=recorded.entity_id,
            account_id=event.account_id,
            name_sealed=event.name_sealed,
            settings_sealed=event.settings_sealed,
            created_by=event.created_by,
            created_at=event.created_at,
            updated_at=event.created_at,
        )
    if view is None:
        return None
    match event:
        case ProjectUpdated(name_sealed=name, settings_sealed=settings, updated_at=at):
            return structs.replace(view, name_sealed=name, settings_sealed=settings, updated_at=at)
        case ProjectArchived(archived_at=at):
            return structs.replace(view, status="archived", updated_at=at)
        case ProjectRestored(restored_at=at):
            return structs.replace(view, status="active", updated_at=at)
        case _:
            return view


PROJECTION = Projection(
    collection="projects",
    version=1,
    document=ProjectView,
    events=_EVENTS,
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.account_id,
    sort=lambda view: instant_sort(view.created_at),
    begun_by=[ProjectCreated],
    listed_everywhere=True,
)


async def get_project(documents: DocumentReader, shards: int, project_id: str) -> ProjectView | None:
    """The project, or `None`."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"project:{project_id}", shards), project_id)
    return None if doc is None else PROJECTION.decode(doc)


async def list_projects(
    documents: DocumentReader, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[ProjectView]:
    """The account's projects, archived ones too, the newest first."""
    return await read_page_everywhere(documents, PROJECTION, account_id, limit=limit, after=after)
