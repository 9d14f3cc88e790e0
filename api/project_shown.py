"""Projects as clients send and see them."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api.errors import ApiError, declare
from api.parts import Services
from api.plain_text import Name
from api.profile import PROJECT_NAME_PLACE as NAME_PLACE
from api.profile import PROJECT_SETTINGS_PLACE as SETTINGS_PLACE
from api.profile import subject_of
from api.rfc3339 import format_instant
from domain.instant import Instant
from domain.project import ProjectStatus
from projections.projects import ProjectView

SETTINGS_BYTES_MAX = 16 * 1024

declare(
    "settings_too_large",
    "invalid",
    "The settings are too large.",
    "Keep them under `limit_bytes` of JSON.",
)

Settings: TypeAlias = Annotated[
    dict[str, Any], Meta(description="Any JSON object, at most 16 kB; Form-State keeps it and never looks into it.")
]


class NewProject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project to be made."""

    name: Name
    settings: Settings = {}  # msgspec copies the default


class ProjectChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; `settings` are replaced as a whole."""

    name: Name | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET
    status: (
        Annotated[ProjectStatus, Meta(description="Keys and tokens of an archived project do not work.")] | UnsetType
    ) = UNSET


class ProjectShown(Struct, frozen=True, kw_only=True):
    """A project of an account."""

    id: str
    account_id: str
    name: str
    settings: dict[str, Any]
    status: ProjectStatus
    created_by: str
    created_at: str
    updated_at: str


class ProjectList(Struct, frozen=True, kw_only=True):
    """A page of projects, newest first."""

    object: Literal["list"] = "list"
    data: list[ProjectShown]
    has_more: bool
    next_cursor: str | None


async def project_shown(services: Services, view: ProjectView, *, updated_at: Instant | None = None) -> ProjectShown:
    """The project with what is sealed opened; `updated_at` is that of a change whose answer this is."""
    subject = subject_of(view.account_id)
    settings = await services.sealer.open(subject, SETTINGS_PLACE, view.settings_sealed)
    return ProjectShown(
        id=view.id,
        account_id=view.account_id,
        name=(await services.sealer.open(subject, NAME_PLACE, view.name_sealed)).decode(),
        settings=msgspec.json.decode(settings, type=dict[str, Any]),
        status=view.status,
        created_by=view.created_by,
        created_at=format_instant(view.created_at),
        updated_at=format_instant(view.updated_at if updated_at is None else updated_at),
    )


def settings_bytes(settings: dict[str, Any]) -> bytes:
    """The settings as JSON. Nothing of them is rounded: what a double cannot hold was refused at the door."""
    encoded = msgspec.json.encode(settings)
    if len(encoded) > SETTINGS_BYTES_MAX:
        raise ApiError("settings_too_large", param="settings", limit_bytes=SETTINGS_BYTES_MAX)
    return encoded
