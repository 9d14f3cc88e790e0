"""Accounts as admins find, suspend and resume them."""

from typing import Any

import pytest

from domain.account.standing import ResumeAccount, SuspendAccount
from domain.user import GrantRole
from tests.api.company import as_org, founder, organization
from tests.api.running import PASSWORD, Person, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")
BECAUSE = {"reason": "Charged back."}


async def found(app: Running, admin: Person, query: str) -> list[dict[str, Any]]:
    """All pages of a search."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await app.ask("GET", f"/admin/accounts?limit=2&{query}{cursor}", token=admin.token)
        assert answer.status == 200, answer
        items += answer.json["data"]
        if not answer.json["has_more"]:
            assert answer.json["next_cursor"] is None
            return items
        cursor = f"&cursor={answer.json['next_cursor']}"


async def test_search_200_by_email_and_id(app: Running) -> None:
    """Exactly that account, in any case of letters; nothing for what nobody has."""
    admin, person = await app.admin(), await app.register(display_name="Ada")
    [one] = await found(app, admin, f"email={person.email.upper()}")
    assert one | {"created_at": ""} == {
        "id": person.id,
        "kind": "user",
        "email": person.email,
        "display_name": "Ada",
        "role": "user",
        "status": "active",
        "created_at": "",
        "suspended_at": None,
        "reason": None,
    }
    assert await found(app, admin, f"id={person.id}") == [one]
    assert await found(app, admin, f"id={person.id}&email={person.email}") == [one]
    assert await found(app, admin, f"id={admin.id}&email={person.email}") == []
    assert await found(app, admin, f"id={person.id}&role=admin") == []
    for query in ("email=nobody%40example.com", "id=user_x", f"id={person.id}&status=suspended"):
        assert await found(app, admin, query) == []


async def test_search_200_pages_through_all(app: Running) -> None:
    """Each account once, over all shards, the newest first; an erased one is gone."""
    admin = await app.admin()
    people = [await app.register() for _ in range(5)]
    gone = await app.register()
    assert (await app.ask("DELETE", "/users/me", token=gone.token)).status == 200
    ids = [each["id"] for each in await found(app, admin, "")]
    assert len(set(ids)) == len(ids)
    assert gone.id not in ids
    assert ids[:5] == [person.id for person in reversed(people)]


async def test_search_200_by_role(app: Running) -> None:
    """Users of one role, as it is now."""
    admin, person = await app.admin(), await app.register()
    await app.command(f"user:{person.id}", GrantRole(role="developer"))
    assert [each["id"] for each in await found(app, admin, "role=developer")] == [person.id]
    assert admin.id in [each["id"] for each in await found(app, admin, "role=admin")]
    await app.command(f"user:{person.id}", GrantRole(role="user"))
    assert await found(app, admin, "role=developer") == []
    assert person.id in [each["id"] for each in await found(app, admin, "role=user&status=active")]


async def test_suspend_200_and_resume(app: Running) -> None:
    """Tokens and keys are refused everything but what the owner must still see; resumed, all works as before."""
    admin, person = await app.admin(), await app.register()
    key = await app.key(person)
    path = f"/admin/accounts/{person.id}"
    suspended = await app.ask("POST", f"{path}/suspend", BECAUSE, token=admin.token)
    assert suspended.status == 200
    assert (suspended.json["status"], suspended.json["reason"]) == ("suspended", "Charged back.")
    assert await found(app, admin, "status=suspended") == [suspended.json]
    for credentials in ({"token": person.token}, {"api_key": key["key"]}):
        for method, way in (("GET", "/api-keys"), ("GET", "/billing/credits"), ("PATCH", "/users/me")):
            answer = await app.ask(method, way, {} if method == "PATCH" else None, **credentials)
            assert (answer.status, answer.code) == (403, "account_suspended"), (way, answer)
        for way in ("/users/me", "/billing/subscription"):
            assert (await app.ask("GET", way, **credentials)).status == 200
    login = await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})
    assert login.status == 200
    again = await app.ask("POST", f"{path}/suspend", {"reason": "Another."}, token=admin.token)
    assert again.json == suspended.json
    resumed = await app.ask("POST", f"{path}/resume", token=admin.token)
    assert (resumed.json["status"], resumed.json["reason"]) == ("active", None)
    assert (await app.ask("GET", "/api-keys", api_key=key["key"])).status == 200
    assert await found(app, admin, "status=suspended") == []


async def test_suspension_by_another_process_ends_what_is_cached_here(app: Running) -> None:
    """A suspension that this process has only read about by its stamp is effective on warm credentials."""
    person = await app.register()
    assert (await app.ask("GET", "/api-keys", token=person.token)).status == 200
    assert f"account:{person.id}" in app.services.identities.cache._of
    await app.command(f"account:{person.id}", SuspendAccount(reason_sealed="r"))
    await app.until(lambda: f"account:{person.id}" not in app.services.identities.cache._of)
    assert (await app.ask("GET", "/api-keys", token=person.token)).code == "account_suspended"
    await app.command(f"account:{person.id}", ResumeAccount())


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 501, 1, None])
async def test_suspend_400(app: Running, reason: Any) -> None:
    """Without a reason that can be read nothing happens."""
    admin, person = await app.admin(), await app.register()
    answer = await app.ask("POST", f"/admin/accounts/{person.id}/suspend", {"reason": reason}, token=admin.token)
    assert answer.status == 400
    assert (await app.ask("GET", "/api-keys", token=person.token)).status == 200


@pytest.mark.parametrize("query", ["role=king", "status=dead", "limit=0", "cursor=x", "name=Ada"])
async def test_search_400(app: Running, query: str) -> None:
    """Unknown filters and values are refused."""
    assert (await app.ask("GET", f"/admin/accounts?{query}", token=(await app.admin()).token)).status == 400


async def test_403(app: Running) -> None:
    """Only admins, and their keys only with the scope."""
    admin, person = await app.admin(), await app.register()
    key = await app.key(admin, scopes=["read", "write"])
    for credentials in ({"token": person.token}, {"api_key": key["key"]}):
        for method, way in (
            ("GET", "/admin/accounts"),
            ("POST", f"/admin/accounts/{person.id}/suspend"),
            ("POST", f"/admin/accounts/{person.id}/resume"),
        ):
            answer = await app.ask(method, way, BECAUSE if way.endswith("suspend") else None, **credentials)
            assert (answer.status, answer.code) == (403, "missing_scope")
    assert (await app.ask("GET", "/admin/accounts")).status == 401


async def test_404(app: Running) -> None:
    """There is nothing to suspend or resume."""
    admin = await app.admin()
    for account in ("user_00000000000000000000000000000000", "org_00000000000000000000000000000000", "x"):
        for way, body in (("suspend", BECAUSE), ("resume", None)):
            answer = await app.ask("POST", f"/admin/accounts/{account}/{way}", body, token=admin.token)
            assert (answer.status, answer.code) == (404, "account_not_found")


async def test_suspend_409(app: Running) -> None:
    """An admin does not lock itself out."""
    admin = await app.admin()
    answer = await app.ask("POST", f"/admin/accounts/{admin.id}/suspend", BECAUSE, token=admin.token)
    assert (answer.status, answer.code) == (409, "own_account")


async def test_an_organizations_account_is_found_and_suspended(app: Running) -> None:
    """By its id or among all; its members are refused while they act for it, and go on for themselves."""
    admin, ada = await app.admin(), await founder(app)
    org_id = await organization(app, ada, "Engines")
    [one] = await found(app, admin, f"id={org_id}")
    assert (one["kind"], one["display_name"], one["email"], one["role"]) == ("organization", "Engines", None, None)
    assert one in await found(app, admin, "")
    assert (await as_org(app, ada, org_id, "GET", "/api-keys")).status == 200
    suspended = await app.ask("POST", f"/admin/accounts/{org_id}/suspend", BECAUSE, token=admin.token)
    assert (suspended.status, suspended.json["status"]) == (200, "suspended")
    assert (await as_org(app, ada, org_id, "GET", "/api-keys")).code == "account_suspended"
    assert (await app.ask("GET", "/api-keys", token=ada.token)).status == 200
    await app.ask("POST", f"/admin/accounts/{org_id}/resume", token=admin.token)
    assert (await as_org(app, ada, org_id, "GET", "/api-keys")).status == 200
