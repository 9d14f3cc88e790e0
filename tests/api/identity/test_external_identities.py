"""For which account and project an external token acts: what its issuer's `organization` and `project` say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from api.caller import Caller
from api.errors import ApiError
from api.identity.identities import Identities
from domain.instant import DAY
from domain.invitation import AcceptInvitation, InviteMember
from domain.member import ChangeMemberLevel, Level, RemoveMember
from domain.project import UpdateProject
from tests.api.company import founder, organization
from tests.api.identity_provider import Site, elsewhere, issuers_of, names, site
from tests.api.running import Person


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Site]:
    """One for this module's tests; each takes its tokens in a process of its own, as its issuer's table says."""
    async with site() as running_site:
        yield running_site


pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def process(there: Site, **changed: Any) -> AsyncIterator[Identities]:
    """A process that takes the provider's tokens by such a table."""
    identities = elsewhere(there, issuers_of(there.server, **changed))
    await identities.start()
    try:
        yield identities
    finally:
        await identities.stop()


async def caller(identities: Identities, token: str, organization: str | None = None) -> Caller:
    """Who the token is."""
    return await identities.authenticate(f"Bearer {token}", None, address="", user_agent="", organization=organization)


async def refused(identities: Identities, token: str) -> ApiError:
    """Why the token is refused."""
    with pytest.raises(ApiError) as error:
        await caller(identities, token)
    return error.value


async def until(identities: Identities, token: str, level: Level | None) -> Caller:
    """The caller once it acts at this level; within the second that a change may take."""
    async with asyncio.timeout(1):
        while (found := await caller(identities, token)).level != level:
            await asyncio.sleep(0.005)
    return found


async def joins(there: Site, org_id: str, admin: Person, user_id: str, level: Level) -> None:
    """Makes a user a member, as an invitation does."""
    invitation = f"inv_{names()}"
    stream = f"org:{org_id}"
    invite = InviteMember(
        by=admin.id,
        invitation_id=invitation,
        email_hash=invitation,
        email_sealed="sealed",
        level=level,
        lasts=DAY,
        members_max=None,
    )
    await there.app.command(stream, invite)
    await there.app.command(stream, AcceptInvitation(invitation_id=invitation, user_id=user_id, members_max=None))


async def test_projects_mean_nothing_unless_the_operator_says_so(there: Site) -> None:
    """`ignore`: any name, bound to none, and none is made."""
    async with process(there) as identities:
        found = await caller(identities, there.server.token(names(), project_id="blue"))
    assert (found.project_id, found.account_id) == (None, found.user_id)


async def test_a_project_is_made_at_first_sight(there: Site) -> None:
    """`create`: one for each name of the account, whoever sees it first; the token sees it alone."""
    subject, app = names(), there.app
    async with process(there, project="create") as one, process(there, project="create") as other:
        tokens = [there.server.token(subject, project_id="blue", jti=names()) for _ in range(8)]
        found = await asyncio.gather(*[caller(each, token) for each in (one, other) for token in tokens])
        assert len({each.project_id for each in found}) == 1
        red = await caller(one, there.server.token(subject, project_id="red"))
        assert red.project_id not in (None, found[0].project_id)
        stranger = await caller(one, there.server.token(names(), project_id="blue"))
        assert stranger.project_id != found[0].project_id
        by_id = await caller(one, there.server.token(subject, project_id=found[0].project_id))
        assert by_id.project_id == found[0].project_id
        theirs = await refused(one, there.server.token(subject, project_id=stranger.project_id))
        assert (theirs.status, theirs.code) == (401, "invalid_token")
    listed = (await app.ask("GET", "/v1/projects", token=there.server.token(subject))).json["data"]
    assert [(each["name"], each["settings"]) for each in listed] == [("red", {}), ("blue", {})]


@pytest.mark.parametrize("name", ["x" * 101, "a\nb", "\u0007", "project_" + "0" * 32])
async def test_names_that_are_none(there: Site, name: str) -> None:
    """Neither too long, nor with control characters, nor an id that would be ours."""
    async with process(there, project="create") as identities:
        assert (await refused(identities, there.server.token(names(), project_id=name))).code == "invalid_token"


async def test_names_of_any_kind_are_kept(there: Site) -> None:
    """Right-to-left marks and all: never mangled."""
    name, subject = "\u202eפרויקט\u202c 👩‍👩‍👧 e\u0301", names()
    async with process(there, project="create") as identities:
        made = await caller(identities, there.server.token(subject, project_id=name))
    shown = await there.app.ask("GET", f"/v1/projects/{made.project_id}", token=there.server.token(subject))
    assert shown.json["name"] == name


async def test_a_required_project_is_never_made(there: Site) -> None:
    """`require`: of the account and active, or the token is refused; an archived one ends it within a second."""
    subject = names()
    own = there.server.token(subject)
    made = await there.app.ask("POST", "/v1/projects", {"name": "blue"}, token=own)
    project_id = made.json["id"]
    async with process(there, project="require") as identities:
        for name in ("blue", "project_" + "0" * 32, project_id.upper()):
            assert (await refused(identities, there.server.token(subject, project_id=name))).code == "invalid_token"
        token = there.server.token(subject, project_id=project_id)
        assert (await caller(identities, token)).project_id == project_id
        assert (await refused(identities, there.server.token(names(), project_id=project_id))).status == 401
        account = made.json["account_id"]
        await there.app.command(f"project:{project_id}", UpdateProject(account_id=account, status="archived"))
        async with asyncio.timeout(1):
            while len(identities.cache):
                await asyncio.sleep(0.005)
        assert "archived" in (await refused(identities, token)).message


async def test_what_is_bound_to_a_project_sees_it_alone() -> None:
    """Over HTTP: its own project, no other, and nothing that is wider than one."""
    async with site(project="create") as there:
        subject = names()
        blue, red = (there.server.token(subject, project_id=name) for name in ("blue", "red"))
        listed = [(await there.app.ask("GET", "/v1/projects", token=token)).json["data"] for token in (blue, red)]
        assert [[each["name"] for each in data] for data in listed] == [["blue"], ["red"]]
        other = await there.app.ask("GET", f"/v1/projects/{listed[0][0]['id']}", token=red)
        assert (other.status, other.code) == (404, "project_not_found")
        wide = await there.app.ask("POST", "/v1/projects", {"name": "green"}, token=blue)
        assert (wide.status, wide.code) == (403, "project_bound")


async def test_an_issuers_organization(there: Site) -> None:
    """Its members act for it, as far as their level goes and as long as they are members; others for themselves."""
    ada = await founder(there.app)
    org_id = await organization(there.app, ada)
    token = there.server.token(names())
    async with process(there, organization=org_id, project="create") as identities:
        before = await caller(identities, token)
        assert (before.account_id, before.level, before.project_id) == (before.user_id, None, None)
        await joins(there, org_id, ada, before.user_id, "read")
        member = await until(identities, token, "read")
        assert member.account_id == org_id
        assert member.project_id is not None
        assert "models:invoke" not in member.scopes
        await there.app.command(f"org:{org_id}", ChangeMemberLevel(by=ada.id, user_id=before.user_id, level="write"))
        assert "models:invoke" in (await until(identities, token, "write")).scopes
        await there.app.command(f"org:{org_id}", RemoveMember(by=ada.id, user_id=before.user_id))
        after = await until(identities, token, None)
        assert (after.account_id, after.project_id) == (before.user_id, None)
    projects = await there.app.ask("GET", "/v1/projects", token=ada.token, headers={"X-Organization": org_id})
    assert [each["name"] for each in projects.json["data"]] == ["default"]


async def test_a_project_of_an_organization_brings_its_members_there(there: Site) -> None:
    """By the project's id, for members alone, and not where the issuer belongs to another organization."""
    ada = await founder(there.app)
    org_id, other_id = await organization(there.app, ada), await organization(there.app, ada, "Others")
    made = await there.app.ask(
        "POST", "/v1/projects", {"name": "blue"}, token=ada.token, headers={"X-Organization": org_id}
    )
    subject, project_id = names(), made.json["id"]
    token = there.server.token(subject, project_id=project_id)
    async with process(there, project="require") as identities, process(there) as unbound:
        assert (await refused(identities, token)).code == "invalid_token"
        user_id = (await caller(unbound, token)).user_id
        await joins(there, org_id, ada, user_id, "write")
        found = await caller(identities, token)
        assert (found.account_id, found.level, found.project_id) == (org_id, "write", project_id)
        await there.app.command(f"org:{org_id}", RemoveMember(by=ada.id, user_id=user_id))
        async with asyncio.timeout(1):
            while len(identities.cache):
                await asyncio.sleep(0.005)
        assert (await refused(identities, token)).code == "invalid_token"
    await joins(there, org_id, ada, user_id, "write")
    await joins(there, other_id, ada, user_id, "write")
    async with process(there, project="require", organization=other_id) as identities:
        assert (await refused(identities, token)).code == "invalid_token"


async def test_members_can_act_for_themselves(there: Site) -> None:
    """Naming its own account, whatever its level in the organization: to leave it, say. Or for another organization."""
    ada = await founder(there.app)
    org_id, other_id = await organization(there.app, ada), await organization(there.app, ada, "Others")
    token = there.server.token(names())
    async with process(there, organization=org_id) as identities:
        user_id = (await caller(identities, token)).user_id
        await joins(there, org_id, ada, user_id, "read")
        await joins(there, other_id, ada, user_id, "write")
        assert (await until(identities, token, "read")).account_id == org_id
        own = await caller(identities, token, user_id)
        assert (own.account_id, own.level, "users:write" in own.scopes) == (user_id, None, True)
        other = await caller(identities, token, other_id)
        assert (other.account_id, other.level, "models:invoke" in other.scopes) == (other_id, "write", True)
        assert (await caller(identities, token, org_id)).level == "read"
        with pytest.raises(ApiError) as error:
            await caller(identities, token, ada.id)
        assert error.value.code == "organization_not_found"
    async with process(there, organization=org_id, project="create") as bound:
        assert (await caller(bound, token)).account_id == org_id
        with pytest.raises(ApiError) as error:
            await caller(bound, token, user_id)
        assert error.value.code == "project_bound"


async def test_an_organization_can_be_chosen_for_a_request(there: Site) -> None:
    """`X-Organization` works with an external token as with a login token, unless a project binds it."""
    ada = await founder(there.app)
    org_id, token = await organization(there.app, ada), there.server.token(names())
    async with process(there) as identities, process(there, project="create") as bound:
        user_id = (await caller(identities, token)).user_id
        await joins(there, org_id, ada, user_id, "write")
        assert (await caller(identities, token, org_id)).account_id == org_id
        with pytest.raises(ApiError) as error:
            await caller(bound, token, org_id)
        assert error.value.code == "project_bound"
