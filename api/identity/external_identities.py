"""From an external token to what its credentials stand for: the user, and the account and project that it acts for.

An issuer may belong to an organization: whoever of its users is a member acts for it, without `X-Organization`. Until
then they act for their own account, bound to no project, so that they can accept an invitation. `X-Organization`
chooses another account as for anybody else, unless a project binds the token.
"""

from msgspec import structs

from api.identity.acting import Acting, is_org_id
from api.identity.external_commands import Origin
from api.identity.external_projects import ExternalProjects
from api.identity.external_tokens import ExternalToken
from api.identity.external_users import ExternalUsers
from api.identity.identity_cache import Identity
from domain.user import Role
from projections.members import membership_id
from projections.users import UserView


class ExternalIdentities:
    """`start` before the first `identify`, `stop` after the last."""

    def __init__(self, users: ExternalUsers, projects: ExternalProjects, acting: Acting) -> None:
        self._users = users
        self._projects = projects
        self._acting = acting

    def start(self) -> None:
        """Begins to fetch the issuers' keys; waits for none of them."""
        self._users.start()

    async def stop(self) -> None:
        """Ends the fetching."""
        await self._users.stop()

    def role_of(self, user: UserView) -> Role | None:
        """See `ExternalUsers.role_of`."""
        return self._users.role_of(user)

    async def identify(self, text: str, origin: Origin) -> Identity | None:
        """What a token stands for; `None` for a token of no issuer here.

        It ends with its key, with what stamps its user, and with its membership and project. `TokenRefused` for a bad
        token, 401 `user_erased`, 503 `auth_unavailable`.
        """
        found = await self._users.identify(text, origin)
        if found is None:
            return None
        token = found.token
        own = await self._acting.for_self(found.user, found.role, token.expires_at)
        identity = structs.replace(own, principals=(*own.principals, token.key_id), claims_json=token.claims_json)
        organization = token.issuer.organization
        if organization is None:
            return await self._in_project(identity, token, origin)
        # Named before it exists: becoming a member ends the identity, and with the next request it is a member's.
        identity = _until(identity, membership_id(organization, identity.user_id))
        member = await self._acting.membership(organization, identity.user_id)
        if member is None:
            return identity
        company = await self._acting.for_organization(identity, member)
        if token.issuer.project == "ignore":
            return structs.replace(company, own=identity)
        return await self._in_project(company, token, origin)

    async def _in_project(self, identity: Identity, token: ExternalToken, origin: Origin) -> Identity:
        """Bound to the token's project, where its issuer's projects mean something here.

        A project of another organization brings its members there, unless the issuer belongs to one.
        """
        if token.issuer.project == "ignore":
            return identity
        owner = await self._projects.owner_of(token)
        if owner is not None and is_org_id(owner) and token.issuer.organization is None:
            member = await self._acting.membership(owner, identity.user_id)
            if member is not None:
                identity = await self._acting.for_organization(identity, member)
        project_id = await self._projects.bind(
            token, account_id=identity.account_id, user_id=identity.user_id, origin=origin
        )
        return structs.replace(_until(identity, project_id), project_id=project_id)


def _until(identity: Identity, principal: str) -> Identity:
    """The identity, which ends with this principal's stamp too."""
    return structs.replace(identity, principals=(*identity.principals, principal))
