"""What outlasts the authority that did it takes authority as it is now, not as it was when it was last heard of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from domain.account.api_key_limits import RateLimit
from domain.account.api_keys import RevokeApiKey, RotateApiKey, UpdateApiKey
from domain.member import RemoveMember
from domain.user import ChangePassword
from tests.api.company import as_org, founder, joined, organization
from tests.api.mailbox import Mailbox
from tests.api.running import Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")

ROTATED = RotateApiKey(key_id="", digest="digest", hint="hint", overlap_s=60, secret_sealed="sealed")


@asynccontextmanager
async def unheard(app: Running) -> AsyncIterator[None]:
    """What is changed elsewhere meanwhile is not heard of here: the moment between two polls of the stamps."""
    stamps = app.services.identities.stamps
    await stamps.stop()
    try:
        yield
    finally:
        await stamps.start()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api-keys", {"name": "for ever"}),
        ("POST", "/api-keys/create", {"name": "for ever"}),
        ("POST", "/api-keys/{other}/rotate", {}),
        ("PATCH", "/api-keys/{other}", {"scopes": ["read", "write"], "expires_at": None, "rate_limit": None}),
    ],
    ids=["made", "created", "rotated", "changed"],
)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (RevokeApiKey(key_id=""), "invalid_api_key"),
        (structs.replace(ROTATED, overlap_s=0), "invalid_api_key"),
        (ROTATED, "expiry_exceeded"),
        (UpdateApiKey(key_id="", scopes=("read",)), "missing_scope"),
        (UpdateApiKey(key_id="", rate_limit=RateLimit(requests_per_minute=9)), "limits_exceeded"),
    ],
    ids=["revoked", "replaced", "retired", "narrowed", "limited"],
)
async def test_a_key_makes_no_other_by_what_it_was(
    app: Running, change: Any, expected: str, method: str, path: str, body: Any
) -> None:
    """Until a key's end was heard of it may still read, but neither make a key nor rotate or change one."""
    person = await app.register()
    key, other = await app.key(person), await app.key(person)
    assert (await app.ask("GET", "/api-keys", api_key=key["key"])).status == 200
    async with unheard(app):
        await app.command(f"account:{person.id}", structs.replace(change, key_id=key["id"]))
        assert (await app.ask("GET", "/api-keys", api_key=key["key"])).status == 200
        refused = await app.ask(method, path.format(other=other["id"]), body, api_key=key["key"])
        assert refused.status >= 400, refused
        assert refused.code == expected


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": ["read", "write"]},
        {"expires_at": None},
        {"rate_limit": None},
        {"credit_limit": None},
        {"name": "for ever", "credit_limit": {"amount": "9", "period": "day"}},
    ],
    ids=",".join,
)
async def test_each_part_of_a_keys_reach_takes_fresh_authority(app: Running, body: Any) -> None:
    """Only its name is nothing that lasts: a process that has not heard of the end yet still writes that down."""
    person = await app.register()
    key, other = await app.key(person), await app.key(person)
    assert (await app.ask("GET", "/api-keys", api_key=key["key"])).status == 200
    async with unheard(app):
        await app.command(f"account:{person.id}", RevokeApiKey(key_id=key["id"]))
        assert (await app.ask("PATCH", f"/api-keys/{other['id']}", {"name": "b"}, api_key=key["key"])).status == 200
        refused = await app.ask("PATCH", f"/api-keys/{other['id']}", body, api_key=key["key"])
        assert (refused.status, refused.code) == (401, "invalid_api_key"), refused


async def test_a_login_token_makes_no_key_after_its_password(app: Running) -> None:
    """Whoever holds a token that a change of the password has ended gets nothing by it that lasts."""
    person = await app.register()
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
    async with unheard(app):
        await app.command(f"user:{person.id}", ChangePassword(password_sealed="another", ver=1))
        assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
        refused = await app.ask("POST", "/api-keys", {"name": "for ever"}, token=person.token)
        assert (refused.status, refused.code) == (401, "invalid_token")


async def test_a_login_token_erases_nobody_after_its_password(app: Running) -> None:
    """Nothing takes that back."""
    person = await app.register()
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
    async with unheard(app):
        await app.command(f"user:{person.id}", ChangePassword(password_sealed="another", ver=1))
        refused = await app.ask("DELETE", "/users/me", token=person.token)
        assert (refused.status, refused.code) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("POST", "/billing/credits/add", {"amount": "1"}),
        (
            "PUT",
            "/billing/subscription",
            {"plan": "enterprise", "status": "active", "occurred_at": "2026-11-01T00:00:00Z"},
        ),
    ],
)
async def test_a_revoked_service_key_gives_no_money(app: Running, method: str, path: str, more: Any) -> None:
    """A key of the payment side that leaked is of no use from the moment in which it is revoked."""
    admin, person = await app.admin(), await app.register()
    key = await app.key(admin, scopes=["admin"])
    assert (await app.ask("GET", "/admin/accounts", api_key=key["key"])).status == 200
    async with unheard(app):
        await app.command(f"account:{admin.id}", RevokeApiKey(key_id=key["id"]))
        assert (await app.ask("GET", "/admin/accounts", api_key=key["key"])).status == 200
        body = {"account_id": person.id, "reference": "stolen"} | more
        refused = await app.ask(method, path, body, api_key=key["key"])
        assert (refused.status, refused.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/orgs/{org}/invite", {"email": "eve@example.com", "level": "admin"}),
        ("POST", "/orgs/{org}/invitations/{invitation}/send", None),
        ("PATCH", "/orgs/{org}/members/{bob}", {"level": "admin"}),
        ("DELETE", "/orgs/{org}/members/{bob}", None),
    ],
)
async def test_a_revoked_key_of_an_organization_changes_nobody(
    app: Running, box: Mailbox, method: str, path: str, body: Any
) -> None:
    """It invites nobody, sends no invitation again, raises nobody's level, and puts nobody out."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "read")
    key = (await as_org(app, ada, org_id, "POST", "/api-keys", {"name": "robot"})).json
    sent = await app.ask("POST", f"/orgs/{org_id}/invite", {"email": f"of.{org_id}@example.com"}, token=ada.token)
    assert (await app.ask("GET", f"/orgs/{org_id}", api_key=key["key"])).status == 200
    async with unheard(app):
        await app.command(f"account:{org_id}", RevokeApiKey(key_id=key["id"]))
        assert (await app.ask("GET", f"/orgs/{org_id}", api_key=key["key"])).status == 200
        target = path.format(org=org_id, invitation=sent.json["id"], bob=bob.id)
        refused = await app.ask(method, target, body, api_key=key["key"])
        assert (refused.status, refused.code) == (401, "invalid_api_key")


async def test_a_removed_member_makes_no_key(app: Running, box: Mailbox) -> None:
    """Acting for an organization is read anew too, where the organization is chosen by its header."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "write")
    assert (await as_org(app, bob, org_id, "GET", "/api-keys")).status == 200
    async with unheard(app):
        await app.command(f"org:{org_id}", RemoveMember(by=ada.id, user_id=bob.id))
        assert (await as_org(app, bob, org_id, "GET", "/api-keys")).status == 200
        refused = await as_org(app, bob, org_id, "POST", "/api-keys", {"name": "for ever"})
        assert (refused.status, refused.code) == (404, "organization_not_found")
