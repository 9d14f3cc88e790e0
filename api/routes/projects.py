"""Projects of an account. Credentials that are bound to a project see it alone."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.pagination import PageQuery, list_fields
from api.parts import Services
from api.plain_text import check_name
from api.profile import PROJECT_NAME_PLACE as NAME_PLACE
from api.profile import PROJECT_SETTINGS_PLACE as SETTINGS_PLACE
from api.profile import subject_of
from api.project_shown import NewProject, ProjectChange, ProjectList, ProjectShown, project_shown, settings_bytes
from api.rfc3339 import format_instant
from api.route import Route, needs
from domain.project import CreateProject, UpdateProject
from projections.paging import Page
from projections.projects import ProjectView, get_project, list_projects

_EXAMPLE_ID = {"id": "project_00000000000000000000000000000000"}

declare(
    "project_not_found",
    "not_found",
    "There is no such project.",
    "List the account's projects with GET /v1/projects.",
)
declare(
    "project_exists",
    "conflict",
    "There is a project with this id.",
    "Repeat the request under another Idempotency-Key.",
)


async def create(call: Call[NewProject, None]) -> ProjectShown:
    """Makes a project of the acting account."""
    services, caller, body = call.services, call.caller, call.body
    check_name(body.name)
    draft = call.draft()
    project_id = draft.new_id("project")
    subject = subject_of(caller.account_id)
    command = CreateProject(
        project_id=project_id,
        account_id=caller.account_id,
        name_sealed=await services.sealer.seal(subject, NAME_PLACE, body.name.encode()),
        settings_sealed=await services.sealer.seal(subject, SETTINGS_PLACE, settings_bytes(body.settings)),
        created_by=caller.user_id,
    )
    outcome = await draft.submit(command, stream=f"project:{project_id}")
    created_at = format_instant(outcome.at)
    return ProjectShown(
        id=project_id,
        account_id=caller.account_id,
        name=body.name,
        settings=body.settings,
        status="active",
        created_by=caller.user_id,
        created_at=created_at,
        updated_at=created_at,
    )


async def list_all(call: Call[None, PageQuery]) -> ProjectList:
    """The acting account's projects; of credentials that are bound to a project, that one."""
    page = await _visible(call)
    shown = {view.id: await project_shown(call.services, view) for view in page.items}
    return ProjectList(**list_fields(page, lambda view: shown[view.id]))


async def _visible(call: Call[None, PageQuery]) -> Page[ProjectView]:
    services, caller, query = call.services, call.caller, call.query
    after = query.after()
    if caller.project_id is None:
        return await list_projects(services.documents, caller.account_id, limit=query.limit, after=after)
    own = await get_project(services.documents, services.shards, caller.project_id)
    return Page(items=[] if own is None or own.account_id != caller.account_id else [own], next_after=None)


async def show(call: Call[None, None]) -> ProjectShown:
    """One project of the acting account."""
    return await project_shown(call.services, await own_project(call))


async def change(call: Call[ProjectChange, None]) -> ProjectShown:
    """Changes name, settings or status."""
    services, body = call.services, call.body
    view = await own_project(call)
    if call.caller.project_id is not None and body.status is not UNSET:
        raise ApiError("project_bound", param="status")
    subject = subject_of(view.account_id)
    name: str | UnsetType = UNSET
    settings: str | UnsetType = UNSET
    if body.name is not UNSET:
        check_name(body.name)
        name = await services.sealer.seal(subject, NAME_PLACE, body.name.encode())
    if body.settings is not UNSET:
        settings = await services.sealer.seal(subject, SETTINGS_PLACE, settings_bytes(body.settings))
    draft = call.draft(f"project:{view.id}")
    outcome = await draft.submit(
        UpdateProject(account_id=view.account_id, name_sealed=name, settings_sealed=settings, status=body.status)
    )
    services.identities.cache.stamped((view.id,))
    # As it was after this change: a repeat under its Idempotency-Key answers the same, whatever came later.
    data = data_of(outcome)
    then = msgspec.structs.replace(view, **{name: data[name] for name in ("name_sealed", "settings_sealed", "status")})
    return await project_shown(services, then, updated_at=data["updated_at"])


async def own_project(call: Call[Any, Any]) -> ProjectView:
    """The project of the path, if the caller sees it: 404 `project_not_found` for any other."""
    services, caller = call.services, call.caller
    view = await get_project(services.documents, services.shards, call.path["id"])
    if view is None or view.account_id != caller.account_id or caller.project_id not in (None, view.id):
        raise ApiError("project_not_found")
    return view


async def require_active_project(services: Services, account_id: str, project_id: str) -> ProjectView:
    """404 `project_not_found` unless it is an active project of the account: what can be bound to it."""
    view = await get_project(services.documents, services.shards, project_id)
    if view is None or view.account_id != account_id or view.status == "archived":
        raise ApiError("project_not_found", param="project_id")
    return view


ROUTES = (
    Route(
        method="POST",
        path="/v1/projects",
        handler=create,
        summary="Create a project",
        tag="projects",
        access=needs("projects:write"),
        body=NewProject,
        answers={201: ProjectShown},
        errors=("invalid_name", "settings_too_large"),
        write=True,
        example={"name": "Bernoulli numbers", "settings": {"theme": "dark"}},
    ),
    Route(
        method="GET",
        path="/v1/projects",
        handler=list_all,
        summary="List projects",
        tag="projects",
        access=needs("projects:read", project=True),
        query=PageQuery,
        answers={200: ProjectList},
        errors=("invalid_cursor",),
    ),
    Route(
        method="GET",
        path="/v1/projects/{id}",
        handler=show,
        summary="Show a project",
        tag="projects",
        access=needs("projects:read", project=True),
        answers={200: ProjectShown},
        errors=("project_not_found",),
        path_examples=_EXAMPLE_ID,
    ),
    Route(
        method="PATCH",
        path="/v1/projects/{id}",
        handler=change,
        summary="Change a project",
        description="Archiving one stops the keys and tokens that are bound to it, everywhere within a second.",
        tag="projects",
        access=needs("projects:write", project=True),
        body=ProjectChange,
        answers={200: ProjectShown},
        errors=("invalid_name", "settings_too_large", "project_not_found"),
        write=True,
        path_examples=_EXAMPLE_ID,
        example={"name": "Numbers of Bernoulli"},
    ),
)
