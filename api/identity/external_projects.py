"""The project that an external token names, as its issuer's `project` says: required, made at first sight, or ignored.

Providers have names of their own for projects. One that is no id of ours stands for the project with the id that is an
HMAC of account, issuer and name, so processes that see a name at once meet in one stream.
"""

import re

from api.identity.external_commands import ExternalCommands, Origin, told
from api.identity.external_tokens import ExternalToken
from api.identity.tokens import TokenRefused
from api.lookup import LookupHash
from api.plain_text import is_plain
from api.profile import PROJECT_NAME_PLACE, PROJECT_SETTINGS_PLACE, subject_of
from domain.project import CreateProject
from projections.documents import DocumentReader
from projections.projects import ProjectView, get_project

NAME_MAX = 100
_ID = re.compile(r"project_[0-9a-f]{32}", re.ASCII)
REFUSAL = "The token's project is not one of the account, or is archived."


class ExternalProjects:
    """Finds the project of a token, or makes it."""

    def __init__(self, commands: ExternalCommands, lookup: LookupHash, documents: DocumentReader) -> None:
        self._commands = commands
        self._lookup = lookup
        self._documents = documents

    async def owner_of(self, token: ExternalToken) -> str | None:
        """The account of the project that the token names by its id here."""
        view = await self._project(token.project_id) if _ID.fullmatch(token.project_id) else None
        return None if view is None else view.account_id

    async def bind(self, token: ExternalToken, *, account_id: str, user_id: str, origin: Origin) -> str:
        """The id of the one project of the account that the token sees, made now where its issuer's may be.

        `TokenRefused` for a project that is not there, is archived or belongs to another account; 401 `user_erased`,
        503 `auth_unavailable` where it cannot be made now.
        """
        name = token.project_id
        project_id = name if _ID.fullmatch(name) else self._id_of(token, account_id)
        view = await self._project(project_id)
        if view is None and token.issuer.project == "create" and project_id != name:
            async with told():
                await self._create(project_id, name, account_id=account_id, user_id=user_id, origin=origin)
                view = await self._project(project_id)
        if view is None or view.account_id != account_id or view.status != "active":
            raise TokenRefused(REFUSAL, public=REFUSAL)
        return project_id

    def _id_of(self, token: ExternalToken, account_id: str) -> str:
        parts = (account_id, token.issuer.iss, token.project_id)
        return f"project_{self._lookup.mac('project', *[part.encode() for part in parts])[:16].hex()}"

    async def _project(self, project_id: str) -> ProjectView | None:
        return await get_project(self._documents, self._commands.shards, project_id)

    async def _create(self, project_id: str, name: str, *, account_id: str, user_id: str, origin: Origin) -> None:
        """Of two processes that make it at once the second finds it made."""
        if len(name) > NAME_MAX or not is_plain(name):
            raise TokenRefused("no name", public=f"The token's project has no name of up to {NAME_MAX} characters.")
        sealer, subject = self._commands.sealer, subject_of(account_id)
        command = CreateProject(
            project_id=project_id,
            account_id=account_id,
            name_sealed=await sealer.seal(subject, PROJECT_NAME_PLACE, name.encode()),
            settings_sealed=await sealer.seal(subject, PROJECT_SETTINGS_PLACE, b"{}"),
            created_by=user_id,
        )
        stream = f"project:{project_id}"
        await self._commands.send(stream, command, user_id=user_id, account_id=account_id, origin=origin)
