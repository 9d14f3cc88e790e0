"""Projects over HTTP: of an account, with settings; what is bound to one sees nothing beside it."""

import json
from typing import Any

import pytest

from tests.api.company import as_org, founder, organization, stored
from tests.api.running import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"a": {"b": [1, 2.5, -0.125, None, True, "\u202e\u200fשלום 👩‍👩‍👧 é"]}, "": 2**63 - 1, "e\u0301": "é"},
    {"deep": json.loads("[" * 40 + "]" * 40)},
]


@pytest.mark.parametrize("settings", SETTINGS)
async def test_create_201(app: Running, settings: dict[str, Any]) -> None:
    """Name and settings come back as they were given; a repeat makes no other."""
    person = await app.register()
    body = {"name": "\u202eP\u202c", "settings": settings}
    made = await app.ask("POST", "/v1/projects", body, token=person.token, idempotency_key="p")
    assert (made.status, made.json["name"], made.json["settings"]) == (201, body["name"], settings)
    again = await app.ask("POST", "/v1/projects", body, token=person.token, idempotency_key="p")
    assert (again.status, again.json) == (201, made.json)
    assert (made.json["account_id"], made.json["status"]) == (person.id, "active")
    assert (await app.ask("GET", "/v1/projects", token=person.token)).json["data"] == [made.json]
    assert (await app.ask("GET", f"/v1/projects/{made.json['id']}", token=person.token)).json == made.json


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "\n"},
        {"name": "x" * 101},
        {"name": "x" * 10_000},
        {"name": "x", "settings": []},
        {"name": "x", "settings": None},
        {"name": "x", "settings": {"a": "\x00"}},
        {"name": "x", "settings": {"a": "x" * 16_384}},
        {"name": "x", "settings": {"a": json.loads("[" * 70 + "]" * 70)}},
        {"name": "x", "settings": {"a": 2**64}},
        {"name": "x", "more": 1},
    ],
)
async def test_create_400(app: Running, body: dict[str, Any]) -> None:
    """What is no name, or no settings that can be kept, is refused."""
    person = await app.register()
    assert (await app.ask("POST", "/v1/projects", body, token=person.token)).status == 400


async def test_change_200(app: Running) -> None:
    """What is left out stays; a repeat answers the same after later changes."""
    person = await app.register()
    made = await app.ask("POST", "/v1/projects", {"name": "a", "settings": {"x": 1}}, token=person.token)
    path = f"/v1/projects/{made.json['id']}"
    first = await app.ask("PATCH", path, {"name": "b"}, token=person.token, idempotency_key="1")
    assert (first.status, first.json["name"], first.json["settings"]) == (200, "b", {"x": 1})
    await app.ask("PATCH", path, {"settings": {}, "status": "archived"}, token=person.token)
    again = await app.ask("PATCH", path, {"name": "b"}, token=person.token, idempotency_key="1")
    assert again.json == first.json
    now = (await app.ask("GET", path, token=person.token)).json
    assert (now["name"], now["settings"], now["status"]) == ("b", {}, "archived")
    assert now["updated_at"] > first.json["updated_at"] > made.json["created_at"]


async def test_nothing_of_a_project_is_in_plaintext(app: Running) -> None:
    """Neither its name nor its settings (I8)."""
    person = await app.register()
    body = {"name": "marked-name", "settings": {"marked-field": "marked-value"}}
    made = await app.ask("POST", "/v1/projects", body, token=person.token)
    await app.ask("PATCH", f"/v1/projects/{made.json['id']}", body | {"name": "marked-anew"}, token=person.token)
    assert not any(b"marked-" in row for row in stored(app))


async def test_others_404(app: Running) -> None:
    """Another account's project is not there, be it a person's or an organization's."""
    ada, eve = await founder(app), await app.register()
    org_id = await organization(app, ada)
    own = (await app.ask("POST", "/v1/projects", {"name": "own"}, token=ada.token)).json["id"]
    theirs = (await as_org(app, ada, org_id, "POST", "/v1/projects", {"name": "theirs"})).json
    assert theirs["account_id"] == org_id
    for project_id in (own, theirs["id"], "project_" + "0" * 32, "x"):
        for method, body in (("GET", None), ("PATCH", {"name": "mine"})):
            answer = await app.ask(method, f"/v1/projects/{project_id}", body, token=eve.token)
            assert (answer.status, answer.code) == (404, "project_not_found")
    assert (await app.ask("GET", f"/v1/projects/{theirs['id']}", token=ada.token)).status == 404
    assert (await as_org(app, ada, org_id, "GET", f"/v1/projects/{own}")).status == 404
    listed = (await as_org(app, ada, org_id, "GET", "/v1/projects")).json["data"]
    assert [each["name"] for each in listed] == ["theirs"]


async def test_a_bound_key_sees_its_project_alone(app: Running) -> None:
    """Nothing of the account beside it: neither other projects, nor keys, nor money, nor organizations."""
    ada = await founder(app)
    await organization(app, ada)
    first, second = [await project(app, ada.token, name) for name in ("first", "second")]
    other = await app.key(ada, project_id=second)
    free = await app.key(ada)
    key = (await app.key(ada, project_id=first))["key"]
    assert [each["id"] for each in (await app.ask("GET", "/v1/projects", api_key=key)).json["data"]] == [first]
    assert (await app.ask("GET", f"/v1/projects/{first}", api_key=key)).status == 200
    assert (await app.ask("PATCH", f"/v1/projects/{first}", {"name": "n"}, api_key=key)).status == 200
    assert (await app.ask("GET", f"/v1/projects/{second}", api_key=key)).code == "project_not_found"
    listed = (await app.ask("GET", "/api-keys", api_key=key)).json["data"]
    assert [each["project_id"] for each in listed] == [first]
    for hidden in (other["id"], free["id"]):
        assert (await app.ask("GET", f"/api-keys/{hidden}", api_key=key)).code == "api_key_not_found"
    closed = (
        "/billing/credits",
        "/billing/credits/transactions",
        "/billing/usage",
        "/billing/holds",
        "/orgs",
    )
    for path in closed:
        answer = await app.ask("GET", path, api_key=key)
        assert (answer.status, answer.code) == (403, "project_bound"), path
    for path, body in (("/v1/projects", {"name": "more"}), ("/orgs", {"name": "more"})):
        assert (await app.ask("POST", path, body, api_key=key)).code == "project_bound"
    archiving = await app.ask("PATCH", f"/v1/projects/{first}", {"status": "archived"}, api_key=key)
    assert (archiving.status, archiving.code) == (403, "project_bound")


async def test_a_bound_key_makes_keys_of_its_project(app: Running) -> None:
    """Whether it says so or not, and of no other."""
    ada = await app.register()
    first, second = [await project(app, ada.token, name) for name in ("first", "second")]
    key = (await app.key(ada, project_id=first))["key"]
    made = await app.ask("POST", "/api-keys", {"name": "k"}, api_key=key)
    assert (
        made.status,
        (await app.ask("GET", f"/api-keys/{made.json['id']}", token=ada.token)).json["project_id"],
    ) == (
        201,
        first,
    )
    refused = await app.ask("POST", "/api-keys", {"name": "k", "project_id": second}, api_key=key)
    assert (refused.status, refused.code) == (403, "project_exceeded")


async def test_a_key_is_bound_to_a_project_that_is_there(app: Running) -> None:
    """Of the same account, and not archived."""
    ada, eve = await app.register(), await app.register()
    own, foreign = await project(app, ada.token, "own"), await project(app, eve.token, "foreign")
    await app.ask("PATCH", f"/v1/projects/{own}", {"status": "archived"}, token=ada.token)
    for project_id in (own, foreign, "project_" + "0" * 32, "x", ""):
        answer = await app.ask("POST", "/api-keys", {"name": "k", "project_id": project_id}, token=ada.token)
        assert (answer.status, answer.code) == (404, "project_not_found")


async def test_keys_of_an_archived_project_do_not_work(app: Running) -> None:
    """At once, and until it is restored."""
    ada = await app.register()
    project_id = await project(app, ada.token, "p")
    key = (await app.key(ada, project_id=project_id))["key"]
    path = f"/v1/projects/{project_id}"
    assert (await app.ask("GET", path, api_key=key)).status == 200
    await app.ask("PATCH", path, {"status": "archived"}, token=ada.token)
    refused = await app.ask("GET", path, api_key=key)
    assert (refused.status, refused.code) == (401, "invalid_api_key")
    await app.ask("PATCH", path, {"status": "active"}, token=ada.token)
    assert (await app.ask("GET", path, api_key=key)).status == 200


async def project(app: Running, token: str, name: str) -> str:
    """A new project; its id."""
    answer = await app.ask("POST", "/v1/projects", {"name": name}, token=token)
    assert answer.status == 201, answer
    project_id: str = answer.json["id"]
    return project_id
