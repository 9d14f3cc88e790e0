"""Acting for an organization: by `X-Organization`, by a key's own binding, and no further than the level allows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from api.caller import Caller
from api.errors import ApiError
from api.identity.identities import Identities
from domain.member import ChangeMemberLevel, Level, RemoveMember
from domain.project import UpdateProject
from domain.user import GrantRole
from projections.documents import DocumentReader
from tests.api.company import as_org, founder, joined, organization, subscribe
from tests.api.identity.test_identities import elsewhere
from tests.api.mailbox import Mailbox
from tests.api.running import SHARDS, Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_organization_has_an_account_of_its_own(app: Running) -> None:
    """Credits, keys and plan are the organization's, and not its founder's."""
    ada, admin = await founder(app), await app.admin()
    org_id = await organization(app, ada)
    added = {"account_id": org_id, "amount": "5.000000", "reference": "r"}
    assert (await app.ask("POST", "/billing/credits/add", added, token=admin.token)).status == 200
    credits = await as_org(app, ada, org_id, "GET", "/billing/credits")
    assert (credits.json["account_id"], credits.json["balance"]) == (org_id, "5.000000")
    assert (await app.ask("GET", "/billing/credits", token=ada.token)).json["balance"] == "0.000000"
    await as_org(app, ada, org_id, "POST", "/api-keys", {"name": "theirs"})
    keys = (await as_org(app, ada, org_id, "GET", "/api-keys")).json["data"]
    assert [key["name"] for key in keys] == ["theirs"]
    assert (await app.ask("GET", "/api-keys", token=ada.token)).json["data"] == []


async def test_no_money_for_an_organization_that_is_not_there(app: Running) -> None:
    """Neither for one that never was."""
    admin = await app.admin()
    added = {"account_id": "org_" + "0" * 32, "amount": "5.000000", "reference": "r"}
    answer = await app.ask("POST", "/billing/credits/add", added, token=admin.token)
    assert (answer.status, answer.code) == (404, "account_not_found")


@pytest.mark.parametrize(
    ("level", "reads", "writes", "renames"),
    [("read", 200, 403, 403), ("write", 200, 201, 403), ("admin", 200, 201, 200)],
)
async def test_levels(  # one row of the table each
    app: Running, box: Mailbox, level: Level, reads: int, writes: int, renames: int
) -> None:
    """A level allows what it says, by token and by the keys that its member made."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, level)
    path = f"/orgs/{org_id}"
    assert (await as_org(app, bob, org_id, "GET", "/billing/credits")).status == reads
    made = await as_org(app, bob, org_id, "POST", "/api-keys", {"name": "k"})
    assert made.status == writes
    assert (await as_org(app, bob, org_id, "PATCH", path, {"name": "n"})).status == renames
    if made.status == 201:
        key = made.json["key"]
        assert (await app.ask("GET", "/billing/credits", api_key=key)).json["account_id"] == org_id
        assert (await app.ask("PATCH", path, {"name": "n"}, api_key=key)).status == renames


@pytest.mark.parametrize("given", ["org_" + "0" * 32, "", "org_x", "user_" + "0" * 32, "x" * 5_000, "é"])
async def test_strangers_find_nothing(app: Running, given: str) -> None:
    """Whether there is such an organization or not."""
    eve, ada = await app.register(), await founder(app)
    org_id = await organization(app, ada)
    for wanted in (given, org_id):
        answer = await app.ask("GET", "/billing/credits", token=eve.token, headers={"X-Organization": wanted})
        assert (answer.status, answer.code) == (404, "organization_not_found")


async def test_a_key_keeps_its_account(app: Running) -> None:
    """Naming its own is harmless, naming any other is refused, there or not."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    own = (await app.key(ada))["key"]
    bound = (await as_org(app, ada, org_id, "POST", "/api-keys", {"name": "k"})).json["key"]
    for key, wanted, code in (
        (bound, org_id, ""),
        (own, ada.id, ""),
        (own, org_id, "key_bound"),
        (bound, ada.id, "key_bound"),
        (bound, "org_" + "0" * 32, "key_bound"),
    ):
        answer = await app.ask("GET", "/billing/credits", api_key=key, headers={"X-Organization": wanted})
        assert (answer.code if answer.status != 200 else "") == code


async def test_the_header_is_given_once(app: Running) -> None:
    """Which of two counts would be anybody's guess."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    async with app._http.get(
        app.url + "/billing/credits",
        headers=[("Authorization", f"Bearer {ada.token}"), ("X-Organization", org_id), ("X-Organization", ada.id)],
    ) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("level", ["write", "read"])
async def test_who_loses_its_level_loses_it_for_its_keys(app: Running, box: Mailbox, level: Level) -> None:
    """Demoted, tokens and keys can do what is left; removed, neither can do anything."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "admin")
    key = (await as_org(app, bob, org_id, "POST", "/api-keys", {"name": "k"})).json["key"]
    path, member = f"/orgs/{org_id}", f"/orgs/{org_id}/members/{bob.id}"
    assert (await app.ask("PATCH", path, {"name": "n"}, api_key=key)).status == 200
    await app.ask("PATCH", member, {"level": level}, token=ada.token)
    assert (await app.ask("PATCH", path, {"name": "n"}, api_key=key)).status == 403
    expected = 201 if level == "write" else 403
    assert (await app.ask("POST", "/api-keys", {"name": "more"}, api_key=key)).status == expected
    await app.ask("DELETE", member, token=ada.token)
    answer = await app.ask("GET", "/billing/credits", api_key=key)
    assert (answer.status, answer.code) == (401, "invalid_api_key")


async def test_other_processes_forget_within_a_second(app: Running, box: Mailbox) -> None:
    """Demotion, removal and archiving are noticed where nobody was told."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob, cyd = await joined(app, box, ada, org_id, "admin"), await joined(app, box, ada, org_id, "write")
    keys = [
        (await as_org(app, person, org_id, "POST", "/api-keys", {"name": "k"})).json["key"] for person in (bob, cyd)
    ]
    project = (await app.ask("POST", "/v1/projects", {"name": "p"}, token=ada.token)).json["id"]
    bound = (await app.key(ada, project_id=project))["key"]
    other = elsewhere(app)
    await other.start()

    async def caller(credential: str, organization: str | None = None) -> Caller:
        return await other.authenticate(
            f"Bearer {credential}", None, address="192.0.2.1", user_agent="test", organization=organization
        )

    try:
        assert [(await caller(key)).level for key in keys] == ["admin", "write"]
        assert [(await caller(each.token, org_id)).level for each in (bob, cyd)] == ["admin", "write"]
        assert (await caller(bound)).project_id == project
        demote = ChangeMemberLevel(by=ada.id, user_id=bob.id, level="read")
        await app.command(f"org:{org_id}", demote)
        await app.command(f"org:{org_id}", RemoveMember(by=ada.id, user_id=cyd.id))
        await app.command(f"project:{project}", UpdateProject(account_id=ada.id, status="archived"))
        async with asyncio.timeout(1):
            while len(other.cache) > 2:  # the two tokens on their own accounts
                await asyncio.sleep(0.005)
        demoted = await caller(keys[0])
        assert (demoted.level, "api_keys:write" in demoted.scopes) == ("read", False)
        assert (await caller(bob.token, org_id)).level == "read"
        for credential, where, code in (
            (keys[1], None, "invalid_api_key"),
            (cyd.token, org_id, "organization_not_found"),
            (bound, None, "invalid_api_key"),
        ):
            with pytest.raises(ApiError) as refused:
                await caller(credential, where)
            assert refused.value.code == code
    finally:
        await other.stop()


class Delayed:
    """Documents that answer with what was there before: `then` happens between the reading of a user and its use."""

    def __init__(self, documents: DocumentReader, then: Callable[[], Awaitable[None]]) -> None:
        self._documents = documents
        self._then = then
        self._waiting = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def get(self, collection: str, shard: int, key: str) -> bytes | None:
        """See `DocumentReader`."""
        found = await self._documents.get(collection, shard, key)
        if collection == "users" and self._waiting:
            self._waiting = False
            await self._then()
        return found


async def test_what_was_read_before_a_stamp_is_not_kept(app: Running) -> None:
    """A person who is demoted while its first request in an organization is under way is so at the second."""
    admin = await app.admin()
    await subscribe(app, admin.id, "enterprise")
    org_id = await organization(app, admin)
    other: Identities

    async def demoted() -> None:
        await app.command(f"user:{admin.id}", GrantRole(role="user"))
        await other.stamps.poll()

    services = app.services
    documents: Any = Delayed(services.documents, demoted)
    other = Identities(
        store=services.store,
        documents=documents,
        shards=SHARDS,
        keys=services.identities.keys,
        tokens=services.tokens,
        plans=services.plans,
        clock=services.clock,
    )
    await other.stamps.poll()
    roles = [
        (
            await other.authenticate(
                f"Bearer {admin.token}", None, address="192.0.2.1", user_agent="test", organization=org_id
            )
        ).role
        for _ in range(2)
    ]
    assert roles == ["admin", "user"]


async def test_a_suspended_organization_stands_still(app: Running, box: Mailbox) -> None:
    """For tokens, keys and admins alike; its members still see it and may leave."""
    ada, admin = await founder(app), await app.admin()
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    key = (await as_org(app, ada, org_id, "POST", "/api-keys", {"name": "k"})).json["key"]
    path = f"/admin/accounts/{org_id}/suspend"
    assert (await app.ask("POST", path, {"reason": "x"}, token=admin.token)).status == 200
    for answer in (
        await as_org(app, ada, org_id, "GET", "/billing/credits"),
        await app.ask("GET", "/billing/credits", api_key=key),
        await app.ask("PATCH", f"/orgs/{org_id}", {"name": "n"}, token=ada.token),
        await app.ask("POST", f"/orgs/{org_id}/invite", {"email": "n@example.com"}, token=ada.token),
    ):
        assert (answer.status, answer.code) == (403, "account_suspended")
    assert (await app.ask("GET", f"/orgs/{org_id}/members", token=bob.token)).status == 200
    assert (await app.ask("DELETE", f"/orgs/{org_id}/members/{bob.id}", token=bob.token)).status == 200
    assert (await app.ask("GET", "/billing/credits", token=ada.token)).status == 200


async def test_a_platforms_admin_is_cut_to_its_level(app: Running, box: Mailbox) -> None:
    """Acting for an organization in which it only reads, it adds no credits to anybody."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "read")
    await app.command(f"user:{bob.id}", GrantRole(role="admin"))
    await app.until(lambda: bob.id not in app.services.identities.cache._of)
    added = {"account_id": org_id, "amount": "5.000000", "reference": "r"}
    assert (await as_org(app, bob, org_id, "POST", "/billing/credits/add", added)).code == "missing_scope"
    assert (await app.ask("POST", "/billing/credits/add", added, token=bob.token)).status == 200


async def test_limits_are_those_of_who_created_it_until_it_subscribes(app: Running) -> None:
    """Its own plan from then on, at once."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    assert (await as_org(app, ada, org_id, "GET", "/billing/subscription")).json["plan"] == "enterprise"
    await subscribe(app, org_id, "team")
    assert (await as_org(app, ada, org_id, "GET", "/billing/subscription")).json["plan"] == "team"
