"""The audit trail: what was done and refused in an account, by whom, from where."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.identity.tokens import Tokens
from api.rfc3339 import format_instant
from domain.instant import DAY, MINUTE
from projections.audit_trail import trail
from tests.api.company import accept, as_org, founder, invited, joined, organization
from tests.api.mailbox import Mailbox
from tests.api.running import PASSWORD, Person, Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")
AGENT = {"User-Agent": "test/1.0 (é 中 \u200f 😀)"}


async def entries(app: Running, person: Person, query: str = "", *, limit: int = 100) -> list[dict[str, Any]]:
    """All pages of the person's trail."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await app.ask("GET", f"/audit?limit={limit}{query}{cursor}", token=person.token)
        assert answer.status == 200, answer
        found += answer.json["data"]
        if not answer.json["has_more"]:
            return found
        cursor = f"&cursor={answer.json['next_cursor']}"


def told(found: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Action and code of each."""
    return [(each["action"], each["code"]) for each in found]


async def test_200_says_who_did_what_from_where(app: Running) -> None:
    """Applied commands, the newest first, with user, key, address and agent; the registration is in it too."""
    person = await app.register()
    key = await app.key(person)
    body = {"display_name": "Ada"}
    assert (await app.ask("PATCH", "/users/me", body, api_key=key["key"], headers=AGENT)).status == 200
    found = await entries(app, person)
    assert told(found) == [("user.update_profile", None), ("api_key.create", None), ("user.register", None)]
    changed, created, registered = found
    assert changed["actor"] == {"kind": "key", "id": person.id, "key_id": key["id"]}
    assert (changed["address"], changed["user_agent"]) == ("127.0.0.1", AGENT["User-Agent"])
    assert (changed["outcome"], changed["count"], changed["subject"]) == ("applied", 1, f"user:{person.id}")
    assert created["actor"] == {"kind": "user", "id": person.id, "key_id": None}
    assert created["subject"] == f"account:{person.id}"
    assert registered["actor"]["kind"] == "anonymous"
    assert registered["address"] == "127.0.0.1"
    assert len({each["command_id"] for each in found}) == 3


async def test_200_shows_what_the_worker_refused_by_command(app: Running) -> None:
    """A refusal leaves no event, and is in the trail all the same: by its command, with its code."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("DELETE", f"/api-keys/{key['id']}", token=person.token)).status == 200
    refused = await app.ask("PATCH", f"/api-keys/{key['id']}", {"name": "x"}, token=person.token)
    assert (refused.status, refused.code) == (409, "api_key_revoked")
    [entry] = await entries(app, person, "&outcome=refused")
    assert (entry["action"], entry["code"], entry["outcome"]) == ("api_key.update", "api_key_revoked", "refused")
    assert (entry["actor"]["id"], entry["address"], entry["count"]) == (person.id, "127.0.0.1", 1)
    assert told(await entries(app, person))[0] == ("api_key.update", "api_key_revoked")


async def test_200_shows_what_the_api_refused_by_the_minute(app: Running) -> None:
    """403 of a key with too few scopes and 401 of a revoked one, by principal and code; nothing of a made-up key."""
    person = await app.register()
    key, gone = await app.key(person, scopes=["read"]), await app.key(person)
    for _ in range(3):
        assert (await app.ask("PATCH", "/users/me", {}, api_key=key["key"], headers=AGENT)).status == 403
    assert (await app.ask("DELETE", f"/api-keys/{gone['id']}", token=person.token)).status == 200
    for _ in range(2):
        assert (await app.ask("GET", "/api-keys", api_key=gone["key"])).status == 401
    assert (
        await app.ask("GET", "/api-keys", api_key=gone["key"][:-1] + ("x" if gone["key"][-1] != "x" else "y"))
    ).status == 401
    await app.services.refused_requests.flush()
    async with asyncio.timeout(10):
        while len(found := await entries(app, person, "&outcome=refused")) < 2:
            await asyncio.sleep(0.01)
    told_of = {each["code"]: each for each in found}
    assert told_of.keys() == {"missing_scope", "invalid_api_key"}
    scope, unknown = told_of["missing_scope"], told_of["invalid_api_key"]
    assert (scope["action"], scope["count"], scope["actor"]["key_id"]) == ("PATCH /users/me", 3, key["id"])
    assert (unknown["action"], unknown["count"], unknown["actor"]["key_id"]) == ("GET /api-keys", 2, gone["id"])
    assert scope["address"] == unknown["address"] == "127.0.0.1"


async def test_200_shows_login_tokens_that_were_not_good_any_more(app: Running) -> None:
    """Of before a change of the password, and expired; of what nobody here has signed nothing."""
    person = await app.register()
    change = {"current_password": PASSWORD, "new_password": PASSWORD + "2"}
    changed = await app.ask("POST", "/users/me/password", change, token=person.token)
    assert changed.status == 200
    tokens = app.services.identities._tokens
    expired = tokens.issue(person.id, 2, app.services.clock() - 2 * DAY).text
    forged = Tokens({"k": bytes(32)}).issue(person.id, 2, app.services.clock()).text
    for token in (person.token, expired, expired, forged):
        assert (await app.ask("GET", "/users/me", token=token)).code == "invalid_token"
    await app.services.refused_requests.flush()
    now = Person(id=person.id, email=person.email, token=changed.json["token"])
    async with asyncio.timeout(10):
        while not (found := await entries(app, now, "&outcome=refused")):
            await asyncio.sleep(0.01)
    [entry] = found
    assert (entry["action"], entry["code"], entry["count"]) == ("GET /users/me", "invalid_token", 3)
    assert (entry["actor"]["id"], entry["actor"]["key_id"], entry["address"]) == (person.id, None, "127.0.0.1")


async def test_200_shows_what_others_did_without_their_address(app: Running) -> None:
    """An admin's suspension is in both trails; only the admin's own says from where."""
    admin, person = await app.admin(), await app.register()
    because = {"reason": "Because."}
    assert (await app.ask("POST", f"/admin/accounts/{person.id}/suspend", because, token=admin.token)).status == 200
    assert (await app.ask("POST", f"/admin/accounts/{person.id}/resume", token=admin.token)).status == 200
    theirs, own = await entries(app, person), await entries(app, admin)
    assert told(theirs)[:2] == told(own)[:2] == [("account.resume", None), ("account.suspend", None)]
    assert [each["actor"]["id"] for each in theirs[:2]] == [admin.id, admin.id]
    assert [each["address"] for each in theirs[:2]] == [None, None]
    assert [each["address"] for each in own[:2]] == ["127.0.0.1", "127.0.0.1"]


async def test_200_shows_an_operators_money_without_the_operators_address(app: Running, box: Mailbox) -> None:
    """Credits and plans are given by commands of the account they are for: these too say from where to nobody else."""
    admin, ada = await app.admin(), await founder(app)
    org_id = await organization(app, ada)
    for account_id in (ada.id, org_id, admin.id):
        grant = {"account_id": account_id, "amount": "1", "reference": "audit-grant"}
        assert (await app.ask("POST", "/billing/credits/add", grant, token=admin.token)).status == 200
        news = {"account_id": account_id, "plan": "enterprise", "status": "active", "reference": "audit-plan"}
        news |= {"occurred_at": "2026-11-01T00:00:00Z"}
        assert (await app.ask("PUT", "/billing/subscription", news, token=admin.token)).status == 200
    answer = await as_org(app, ada, org_id, "GET", "/audit")
    for found in (await entries(app, ada), answer.json["data"]):
        by_admin = [each for each in found if each["actor"]["id"] == admin.id]
        assert {each["action"] for each in by_admin} == {"credits.add", "subscription.confirm"}
        assert {(each["address"], each["user_agent"]) for each in by_admin} == {(None, None)}
    own = [each["address"] for each in await entries(app, admin) if each["action"] == "credits.add"]
    assert own == ["127.0.0.1"]


async def test_200_shows_a_strangers_try_without_its_address(app: Running, box: Mailbox) -> None:
    """Whoever was not let in by an invitation is no member: the organization sees who it was, not from where."""
    ada, eve = await founder(app), await app.register()
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "bob@example.org", "read")
    bob = await app.register()
    assert (await accept(app, bob, token)).status == 200
    assert (await accept(app, eve, token)).code == "invitation_closed"
    trail = (await as_org(app, ada, org_id, "GET", "/audit?action=org.accept_invitation")).json["data"]
    assert [(each["actor"]["id"], each["outcome"], each["address"]) for each in trail] == [
        (eve.id, "refused", None),
        (bob.id, "applied", "127.0.0.1"),
    ]


async def test_200_pages_and_filters(app: Running) -> None:
    """Every entry once whatever the size of a page; by time, actor, action and outcome."""
    person = await app.register()
    keys = [await app.key(person, name=f"k{number}") for number in range(4)]
    for key in keys[:2]:
        await app.ask("DELETE", f"/api-keys/{key['id']}", token=person.token)
        await app.ask("PATCH", f"/api-keys/{key['id']}", {"name": "x"}, token=person.token)
    await app.ask("PATCH", "/users/me", {"display_name": "x"}, api_key=keys[3]["key"])
    whole = await entries(app, person)
    assert len(whole) == 1 + 4 + 2 + 2 + 1
    assert [each["at"] for each in whole] == sorted((each["at"] for each in whole), reverse=True)
    for limit in (1, 2, 3):
        assert await entries(app, person, limit=limit) == whole
    assert await entries(app, person, "&action=api_key.create", limit=1) == [
        each for each in whole if each["action"] == "api_key.create"
    ]
    assert len(await entries(app, person, "&outcome=refused&action=api_key.update")) == 2
    assert [each["action"] for each in await entries(app, person, f"&actor={keys[3]['id']}")] == ["user.update_profile"]
    assert await entries(app, person, "&actor=user_x") == []
    middle = whole[4]["at"]
    newer, older = await entries(app, person, f"&from={middle}"), await entries(app, person, f"&to={middle}")
    assert newer + older == whole
    assert newer[-1] == whole[4]
    later = format_instant(app.services.clock() + MINUTE)
    assert await entries(app, person, f"&from={later}") == []


async def test_others_trails_are_not_shown(app: Running) -> None:
    """Not even to an admin: everybody sees the trail of the account that they act for."""
    person, other = await app.register(), await app.admin()
    await app.key(person)
    assert {each["subject"] for each in await entries(app, other)} == {f"user:{other.id}"}


async def test_an_erased_users_trail_says_no_more_from_where(app: Running) -> None:
    """The trail stays as it was but for what was personal; the user's id is all that is left of the user."""
    person = await app.register()
    await app.key(person)
    assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
    rows = await app.services.documents.page_everywhere("audit", person.id, limit=10)
    assert len(rows) == 3
    assert all(b"127.0.0.1" not in row.doc for row in rows)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=yesterday", "invalid_period"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "invalid_period"),
        ("outcome=maybe", "invalid_parameter"),
        ("cursor=x", "invalid_cursor"),
        ("cursor=WyJhIiwiYiJd", "invalid_cursor"),
        ("cursor=WyI5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkiLCJiIl0", "invalid_cursor"),
        ("limit=0", "invalid_parameter"),
        ("who=me", "invalid_parameter"),
    ],
)
async def test_400(app: Running, query: str, code: str) -> None:
    """Bad times, filters and cursors are refused."""
    answer = await app.ask("GET", f"/audit?{query}", token=(await app.register()).token)
    assert (answer.status, answer.code) == (400, code)


async def test_401_and_403(app: Running) -> None:
    """Credentials with the scope are needed."""
    person = await app.register()
    key = await app.key(person, scopes=["write"])
    assert (await app.ask("GET", "/audit")).status == 401
    assert (await app.ask("GET", "/audit", api_key=key["key"])).code == "missing_scope"


async def test_an_organizations_trail_is_for_its_admins(app: Running, box: Mailbox) -> None:
    """Who of its members did what, from where; other members are told what they lack."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    made = await as_org(app, bob, org_id, "POST", "/api-keys", {"name": "a key"})
    assert made.status == 201, made
    trail = await as_org(app, ada, org_id, "GET", "/audit")
    [entry] = [each for each in trail.json["data"] if each["action"] == "api_key.create"]
    assert (entry["actor"]["id"], entry["address"], entry["subject"]) == (bob.id, "127.0.0.1", f"account:{org_id}")
    assert "org.invite" in {each["action"] for each in trail.json["data"]}
    refused = await as_org(app, bob, org_id, "GET", "/audit")
    assert (refused.status, refused.code) == (403, "missing_level")


async def test_what_a_rate_limit_refused_is_in_the_trail() -> None:
    """429: counted for whom it was, however often they ask."""
    async with application(limits=True) as limited:
        person = await limited.register()
        asked = [(await limited.ask("GET", "/api-keys", token=person.token)).status for _ in range(15)]
        assert asked == [200] * 10 + [429] * 5
        await limited.services.refused_requests.flush()
        services = limited.services

        async def refused() -> list[tuple[str, str | None, int, str]]:
            entries = [placed.entry async for placed in trail(services.documents, services.store, person.id, None)]
            return [(each.action, each.code, each.count, each.actor.id) for each in entries if each.code]

        async with asyncio.timeout(10):
            while not await refused():
                await asyncio.sleep(0.01)
        assert await refused() == [("GET /api-keys", "rate_limited", 5, person.id)]
