"""Members over HTTP: listed, given other levels, removed; the last admin stays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api import leaving
from api.leaving import Leaver
from domain.member import Level
from projections.members import get_member
from projections.memberships import list_memberships
from tests.api.company import founder, joined, organization
from tests.api.mailbox import Mailbox
from tests.api.running import Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_list_200(app: Running, box: Mailbox) -> None:
    """Any member sees all of them, by the names that they gave themselves."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "read")
    await app.ask("PATCH", "/users/me", {"display_name": "Bob \u200f"}, token=bob.token)
    listed = (await app.ask("GET", f"/orgs/{org_id}/members", token=bob.token)).json["data"]
    assert [(each["user_id"], each["display_name"], each["level"]) for each in listed] == [
        (bob.id, "Bob \u200f", "read"),
        (ada.id, None, "admin"),
    ]


async def test_listings_read_their_documents_together(
    app: Running, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members and organizations: a longer page asks the store no more often."""
    ada = await founder(app)
    first = await organization(app, ada)
    await organization(app, ada)
    for _ in range(3):
        joiner = await joined(app, box, ada, first, "read")
        await app.ask("PATCH", "/users/me", {"display_name": "Bob"}, token=joiner.token)
    asked: list[str] = []
    for store, name in (
        *((app.services.documents, name) for name in ("get", "get_many", "page", "page_everywhere")),
        *((app.services.store, name) for name in ("data_key", "data_keys")),
    ):
        read = getattr(store, name)

        def spy(*arguments: Any, name: str = name, read: Any = read, **named: Any) -> Any:
            asked.append(name)
            return read(*arguments, **named)

        monkeypatch.setattr(store, name, spy)

    async def reads(path: str, limit: int) -> int:
        await app.ask("GET", f"{path}?limit={limit}", token=ada.token)  # from here on it is known who asks
        app.services.sealer._keys.clear()
        asked.clear()
        answer = await app.ask("GET", f"{path}?limit={limit}", token=ada.token)
        assert (answer.status, len(answer.json["data"])) == (200, limit)
        assert "get_many" in asked
        return len(asked)

    assert await reads(f"/orgs/{first}/members", 2) == await reads(f"/orgs/{first}/members", 3)
    assert await reads("/orgs", 1) == await reads("/orgs", 2)


@pytest.mark.parametrize("level", ["read", "write", "admin"])
async def test_change_200(app: Running, box: Mailbox, level: Level) -> None:
    """The next read agrees, and a repeat answers the same."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    path = f"/orgs/{org_id}/members/{bob.id}"
    for _ in range(2):
        changed = await app.ask("PATCH", path, {"level": level}, token=ada.token, idempotency_key="c")
        assert (changed.status, changed.json["level"]) == (200, level)
    assert (await app.ask("GET", f"/orgs/{org_id}", token=bob.token)).json["level"] == level


async def test_change_refused(app: Running, box: Mailbox) -> None:
    """An unknown level is 400, somebody else 404, below admin 403, the last admin 409."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    path = f"/orgs/{org_id}/members"
    assert (await app.ask("PATCH", f"{path}/{bob.id}", {"level": "owner"}, token=ada.token)).status == 400
    assert (await app.ask("PATCH", f"{path}/user_x", {"level": "read"}, token=ada.token)).code == "member_not_found"
    assert (await app.ask("PATCH", f"{path}/{ada.id}", {"level": "read"}, token=bob.token)).code == "missing_level"
    assert (await app.ask("PATCH", f"{path}/{bob.id}", {"level": "admin"}, token=bob.token)).code == "missing_level"
    assert (await app.ask("PATCH", f"{path}/{ada.id}", {"level": "read"}, token=ada.token)).code == "last_admin"


async def test_remove_200(app: Running, box: Mailbox) -> None:
    """For who was removed the organization is not there any more, at once."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    headers = {"X-Organization": org_id}
    assert (await app.ask("GET", "/billing/credits", token=bob.token, headers=headers)).status == 200
    removed = await app.ask("DELETE", f"/orgs/{org_id}/members/{bob.id}", token=ada.token)
    assert (removed.status, removed.json) == (200, {"user_id": bob.id, "removed": True})
    for path, sent in ((f"/orgs/{org_id}", {}), ("/billing/credits", headers)):
        answer = await app.ask("GET", path, token=bob.token, headers=sent)
        assert (answer.status, answer.code) == (404, "organization_not_found")
    assert (await app.ask("GET", "/orgs", token=bob.token)).json["data"] == []
    again = await app.ask("DELETE", f"/orgs/{org_id}/members/{bob.id}", token=ada.token)
    assert (again.status, again.code) == (404, "member_not_found")


async def test_leave_200(app: Running, box: Mailbox) -> None:
    """Anybody may, with a login and not with a key; others need an admin."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "read")
    path = f"/orgs/{org_id}/members"
    key = (await app.key(bob))["key"]
    assert (await app.ask("DELETE", f"{path}/{bob.id}", api_key=key)).code == "login_required"
    assert (await app.ask("DELETE", f"{path}/{ada.id}", token=bob.token)).code == "missing_level"
    assert (await app.ask("DELETE", f"{path}/{bob.id}", token=bob.token)).status == 200
    assert (await app.ask("DELETE", f"{path}/{bob.id}", token=bob.token)).code == "organization_not_found"
    assert (await app.ask("DELETE", f"{path}/{ada.id}", token=ada.token)).code == "last_admin"


async def test_two_last_admins_leave_at_once(app: Running, box: Mailbox) -> None:
    """One of them stays."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "admin")
    answers = await asyncio.gather(
        *(app.ask("DELETE", f"/orgs/{org_id}/members/{each.id}", token=each.token) for each in (ada, bob))
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    left = [person for person, answer in zip((ada, bob), answers, strict=True) if answer.status == 409]
    members = (await app.ask("GET", f"/orgs/{org_id}/members", token=left[0].token)).json["data"]
    assert [(each["user_id"], each["level"]) for each in members] == [(left[0].id, "admin")]


async def test_two_admins_demote_each_other_at_once(app: Running, box: Mailbox) -> None:
    """Who comes second is an admin no longer, and is told so."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "admin")
    pairs = ((ada, bob), (bob, ada))
    answers = await asyncio.gather(
        *(
            app.ask("PATCH", f"/orgs/{org_id}/members/{other.id}", {"level": "read"}, token=one.token)
            for one, other in pairs
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 403]


async def test_who_is_erased_leaves_its_organizations(app: Running, box: Mailbox) -> None:
    """First those that go on without it; one that would be left without an admin is named, until it has another."""
    ada = await founder(app)
    alone, shared = await organization(app, ada), await organization(app, ada)
    bob = await joined(app, box, ada, shared, "write")
    refused = await app.ask("DELETE", "/users/me", token=ada.token)
    assert (refused.status, refused.code, refused.json["error"]["org_id"]) == (409, "last_admin", shared)
    await app.ask("PATCH", f"/orgs/{shared}/members/{bob.id}", {"level": "admin"}, token=ada.token)
    assert (await app.ask("DELETE", "/users/me", token=ada.token)).status == 200
    members = (await app.ask("GET", f"/orgs/{shared}/members", token=bob.token)).json["data"]
    assert [each["user_id"] for each in members] == [bob.id]
    assert (await app.ask("GET", f"/orgs/{alone}", token=bob.token)).status == 404


async def test_an_organization_made_during_an_erasure(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made between leaving and erasing, as by another process: it is left too, or it is not made. None stays behind."""
    ada = await founder(app)
    made: list[tuple[int, str | None]] = []
    leave = leaving.leave_organizations

    async def leave_and_make(leaver: Leaver) -> None:
        await leave(leaver)
        answer = await app.ask("POST", "/orgs", {"name": "Late"}, token=ada.token)
        made.append((answer.status, answer.json["id"] if answer.status == 201 else answer.code))

    monkeypatch.setattr(leaving, "leave_organizations", leave_and_make)
    assert (await app.ask("DELETE", "/users/me", token=ada.token)).status == 200
    (first, org_id), *others = made
    assert (first, others) == (201, [(409, "erasure_begun")])
    assert org_id is not None
    documents = app.services.documents
    assert await get_member(documents, app.services.shards, org_id, ada.id) is None
    assert (await list_memberships(documents, ada.id, limit=10)).items == []


async def test_an_erasure_that_meets_a_last_admin_midway_is_given_up(
    app: Running, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who became the last admin meanwhile is told, is kept, and may make organizations again."""
    ada = await founder(app)
    begin = leaving._begin

    async def share_and_begin(leaver: Leaver) -> str:
        shared = await organization(app, ada)
        await joined(app, box, ada, shared, "write")
        return await begin(leaver)

    monkeypatch.setattr(leaving, "_begin", share_and_begin)
    refused = await app.ask("DELETE", "/users/me", token=ada.token)
    assert (refused.status, refused.code) == (409, "last_admin")
    assert (await app.ask("POST", "/orgs", {"name": "Again"}, token=ada.token)).status == 201


async def test_a_repeat_is_answered_to_who_has_left(app: Running, box: Mailbox) -> None:
    """What it did has taken the right to ask away; the same request under its key is answered all the same."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob, cyd = await joined(app, box, ada, org_id, "admin"), await joined(app, box, ada, org_id, "write")
    path = f"/orgs/{org_id}/members/{bob.id}"
    for _ in range(2):
        demoted = await app.ask("PATCH", path, {"level": "read"}, token=bob.token, idempotency_key="d")
        assert (demoted.status, demoted.json["level"]) == (200, "read")
    for _ in range(2):
        left = await app.ask("DELETE", path, token=bob.token, idempotency_key="l")
        assert (left.status, left.json["user_id"]) == (200, bob.id)
    other = await app.ask("PATCH", path, {"level": "write"}, token=bob.token, idempotency_key="d")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert (await app.ask("DELETE", path, token=cyd.token, idempotency_key="l")).code == "missing_level"
