"""API keys over HTTP: made, shown, changed, revoked; what they may do and when they stop."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.identity.api_key_format import checksum
from api.rfc3339 import format_instant
from domain.instant import DAY, SECOND
from eventstore.clock import system_clock
from tests.api.clock import Clock
from tests.api.running import Running, application

NO_KEY = "key_" + "0" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=clock) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_create_201(app: Running) -> None:
    """A new key works at once, by either header, and has `read` and `write` if nothing else was asked for."""
    person = await app.register()
    key = await app.key(person, name="mine")
    shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert {name: value for name, value in key.items() if name not in {"key", "warning"}} == shown.json
    assert (key["name"], key["scopes"], key["expires_at"], key["mode"]) == ("mine", ["read", "write"], None, "live")
    assert key["key"].startswith("fs_live_")
    assert "once" in key["warning"]
    for credentials in ({"api_key": key["key"]}, {"token": key["key"]}, {"api_key": key["key"], "token": key["key"]}):
        answer = await app.ask("GET", "/users/me", **credentials)
        assert (answer.status, answer.json["id"]) == (200, person.id)


async def test_create_at_the_other_path(app: Running) -> None:
    """`POST /api-keys/create` is the same."""
    person = await app.register()
    assert (await app.ask("POST", "/api-keys/create", {"name": "k"}, token=person.token)).status == 201


async def test_create_again_under_one_key(app: Running) -> None:
    """A creation whose answer was lost answers the same secret when repeated, for 24 hours; then it says so."""
    person = await app.register()
    first, again = [
        await app.ask("POST", "/api-keys", {"name": "k"}, token=person.token, idempotency_key="c") for _ in range(2)
    ]
    assert first.status == again.status == 201
    assert first.json == again.json
    assert (await app.ask("GET", "/users/me", api_key=again.json["key"])).status == 200
    assert len((await app.ask("GET", "/api-keys", token=person.token)).json["data"]) == 1
    await app.store.purge(system_clock() + DAY + SECOND)
    late = await app.ask("POST", "/api-keys", {"name": "k"}, token=person.token, idempotency_key="c")
    assert (late.status, late.json["key"], late.json["id"]) == (201, None, first.json["id"])
    assert "24 hours" in late.json["warning"]
    other = await app.ask("POST", "/api-keys", {"name": "other"}, token=person.token, idempotency_key="c")
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"name": ""}, "invalid_request"),
        ({"name": " "}, "invalid_name"),
        ({"name": "a\tb"}, "invalid_name"),
        ({"name": "x" * 101}, "invalid_request"),
        ({"name": "k", "scopes": []}, "invalid_scope"),
        ({"name": "k", "scopes": ["everything"]}, "invalid_scope"),
        ({"name": "k", "scopes": "read"}, "invalid_request"),
        ({"name": "k", "mode": "demo"}, "invalid_request"),
        ({"name": "k", "expires_at": "tomorrow"}, "invalid_expiry"),
        ({"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, "invalid_expiry"),
        ({"name": "k", "expires_at": 1_900_000_000}, "invalid_request"),
    ],
)
async def test_create_400(app: Running, body: dict[str, Any], code: str) -> None:
    """Bad input makes no key."""
    person = await app.register()
    answer = await app.ask("POST", "/api-keys", body, token=person.token)
    assert (answer.status, answer.code) == (400, code)
    assert (await app.ask("GET", "/api-keys", token=person.token)).json["data"] == []


async def test_create_403_beyond_the_creator(app: Running) -> None:
    """No key gets a scope, and no test key a mode, that its creator lacks."""
    person = await app.register()
    narrow = await app.key(person, scopes=["api_keys:write", "billing:read"])
    test = await app.key(person, mode="test")
    refusals: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
        ({"name": "k", "scopes": ["admin"]}, {"token": person.token}, "scope_exceeded"),
        ({"name": "k", "scopes": ["billing:write"]}, {"token": person.token}, "scope_exceeded"),
        ({"name": "k"}, {"api_key": narrow["key"]}, "scope_exceeded"),
        ({"name": "k"}, {"api_key": test["key"]}, "mode_exceeded"),
    )
    for body, credentials, code in refusals:
        answer = await app.ask("POST", "/api-keys", body, **credentials)
        assert (answer.status, answer.code) == (403, code)
    allowed = {"name": "k", "scopes": ["billing:read"]}
    assert (await app.ask("POST", "/api-keys", allowed, api_key=narrow["key"])).status == 201


async def test_create_403_beyond_the_creators_end(app: Running) -> None:
    """A key that expires makes none that outlives it; a login token, which lasts a day, may."""
    person = await app.register()
    end = format_instant(app.services.clock() + 2 * DAY)
    key = (await app.key(person, expires_at=end))["key"]
    for later in ({}, {"expires_at": None}, {"expires_at": format_instant(app.services.clock() + 3 * DAY)}):
        answer = await app.ask("POST", "/api-keys", {"name": "k"} | later, api_key=key)
        assert (answer.status, answer.code, answer.json["error"]["param"]) == (403, "expiry_exceeded", "expires_at")
    assert (await app.ask("POST", "/api-keys", {"name": "k", "expires_at": end}, api_key=key)).status == 201
    assert (await app.ask("POST", "/api-keys", {"name": "k"}, token=person.token)).status == 201


async def test_create_waits_without_a_key_to_repeat_it(app: Running) -> None:
    """A secret that is shown once is not lost to `Prefer`; under an Idempotency-Key it can be fetched by a repeat."""
    person = await app.register()
    asked: dict[str, Any] = {"token": person.token, "headers": {"Prefer": "respond-async"}}
    answer = await app.ask("POST", "/api-keys", {"name": "k"}, **asked)
    assert answer.status == 201
    assert answer.json["key"]
    assert "preference-applied" not in answer.headers
    assert (await app.ask("POST", "/api-keys", {"name": "k"}, idempotency_key="a", **asked)).status == 202
    fetched = await app.ask("POST", "/api-keys", {"name": "k"}, token=person.token, idempotency_key="a")
    assert (fetched.status, fetched.json["key"] is None) == (201, False)


async def test_create_403_past_the_plan(app: Running) -> None:
    """The free plan has 25 keys; one that is revoked makes room."""
    person = await app.register()
    keys = [await app.key(person) for _ in range(25)]
    refused = await app.ask("POST", "/api-keys", {"name": "k"}, token=person.token)
    assert (refused.status, refused.code, refused.json["error"]["limit"]) == (403, "api_key_limit", 25)
    await app.ask("DELETE", f"/api-keys/{keys[0]['id']}", token=person.token)
    await app.key(person)


async def test_list_and_show_200(app: Running) -> None:
    """Listings show all but the secret, newest first, page by page."""
    person = await app.register()
    keys = [await app.key(person, name=f"key {number}") for number in range(3)]
    first = await app.ask("GET", "/api-keys?limit=2", token=person.token)
    rest = await app.ask("GET", f"/api-keys?limit=2&cursor={first.json['next_cursor']}", token=person.token)
    shown = first.json["data"] + rest.json["data"]
    assert [each["id"] for each in shown] == [key["id"] for key in reversed(keys)]
    assert (first.json["object"], first.json["has_more"], rest.json["has_more"]) == ("list", True, False)
    assert rest.json["next_cursor"] is None
    one = await app.ask("GET", f"/api-keys/{keys[0]['id']}", token=person.token)
    assert one.json == shown[-1]
    assert (one.json["status"], one.json["created_by"], one.json["last_used_at"]) == ("active", person.id, None)
    assert one.json["events_url"] == f"/api-keys/{keys[0]['id']}/events"
    secret = keys[0]["key"].rpartition("_")[2]
    assert secret not in str(one.json)


async def test_change_200(app: Running) -> None:
    """Name and scopes change; a key loses a scope at once."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("PATCH", "/users/me", {}, api_key=key["key"])).status == 200
    body = {"name": "new", "scopes": ["read"]}
    answer = await app.ask("PATCH", f"/api-keys/{key['id']}", body, token=person.token)
    assert (answer.status, answer.json["name"], answer.json["scopes"]) == (200, "new", ["read"])
    assert (await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)).json == answer.json
    assert (await app.ask("PATCH", "/users/me", {}, api_key=key["key"])).code == "missing_scope"


async def test_change_again_under_one_key(app: Running) -> None:
    """A repeated change has the first answer, whatever has become of the key since."""
    person = await app.register()
    path = f"/api-keys/{(await app.key(person))['id']}"
    change: dict[str, Any] = {"token": person.token, "idempotency_key": "c"}
    first = await app.ask("PATCH", path, {"name": "first"}, **change)
    await app.ask("PATCH", path, {"name": "second", "scopes": ["read"]}, token=person.token)
    assert (await app.ask("PATCH", path, {"name": "first"}, **change)).json == first.json
    await app.ask("DELETE", path, token=person.token)
    assert (await app.ask("PATCH", path, {"name": "first"}, **change)).json == first.json
    assert (first.json["name"], first.json["scopes"], first.json["status"]) == ("first", ["read", "write"], "active")


async def test_revoke_200(app: Running) -> None:
    """A revoked key stops at once; revoking it again answers the same; it cannot be changed."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    first, again = [await app.ask("DELETE", f"/api-keys/{key['id']}", token=person.token) for _ in range(2)]
    assert (first.status, first.json["status"]) == (200, "revoked")
    assert first.json["revoked_at"] is not None
    assert (again.status, again.json) == (200, first.json)
    refused = await app.ask("GET", "/users/me", api_key=key["key"])
    assert (refused.status, refused.code) == (401, "invalid_api_key")
    change = await app.ask("PATCH", f"/api-keys/{key['id']}", {"name": "x"}, token=person.token)
    assert (change.status, change.code) == (409, "api_key_revoked")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_404(app: Running, method: str) -> None:
    """Another account's key looks like no key at all."""
    person, other = await app.register(), await app.register()
    theirs = (await app.key(other))["id"]
    for key_id in (theirs, NO_KEY, "key_x", "nothing"):
        body = {"name": "x"} if method == "PATCH" else None
        answer = await app.ask(method, f"/api-keys/{key_id}", body, token=person.token)
        assert (answer.status, answer.code) == (404, "api_key_not_found")
    assert (await app.ask("GET", f"/api-keys/{theirs}", token=other.token)).json["status"] == "active"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api-keys"),
        ("POST", "/api-keys"),
        ("GET", f"/api-keys/{NO_KEY}"),
        ("PATCH", f"/api-keys/{NO_KEY}"),
        ("DELETE", f"/api-keys/{NO_KEY}"),
    ],
)
async def test_401_and_403(app: Running, method: str, path: str) -> None:
    """Every route wants credentials, and a scope."""
    person = await app.register()
    key = await app.key(person, scopes=["models:invoke"])
    body = {"name": "k"} if method in {"POST", "PATCH"} else None
    assert (await app.ask(method, path, body)).code == "missing_credentials"
    refused = await app.ask(method, path, body, api_key=key["key"])
    assert (refused.status, refused.code) == (403, "missing_scope")


async def test_expiry(app: Running, clock: Clock) -> None:
    """An expired key is refused from its instant on, also where it was in use a moment before."""
    person = await app.register()
    key = await app.key(person, expires_at=format_instant(clock() + 3600 * SECOND))
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    with clock.moved(3601 * SECOND):
        refused = await app.ask("GET", "/users/me", api_key=key["key"])
        shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert (refused.status, refused.code) == (401, "invalid_api_key")
    assert "expired" in refused.json["error"]["message"]
    assert shown.json["status"] == "expired"


async def test_mistyped_keys_401(app: Running) -> None:
    """A mistyped key, a right id with another secret, and a key that never was are all 401."""
    person = await app.register()
    key = (await app.key(person))["key"]
    body = key[:-7] + ("a" if key[-7] != "a" else "b")
    unknown = app.services.identities.keys.make(NO_KEY, "live").text
    for wrong in (key[:-1], key + "x", body + key[-6:], body + checksum(body), unknown, "fs_", "fs_live_"):
        by_header = await app.ask("GET", "/users/me", api_key=wrong)
        by_bearer = await app.ask("GET", "/users/me", token=wrong)
        for answer in (by_header, by_bearer):
            assert (answer.status, answer.code) == (401, "invalid_api_key")
            assert "Bearer" in answer.headers["www-authenticate"]


async def test_events_200(app: Running) -> None:
    """What happened to a key is listed, newest first, with who did it, through which key, and from where."""
    person = await app.register()
    key = await app.key(person, name="first")
    await app.ask("PATCH", f"/api-keys/{key['id']}", {"name": "second"}, api_key=key["key"])
    await app.ask("DELETE", f"/api-keys/{key['id']}", token=person.token)
    answer = await app.ask("GET", f"/api-keys/{key['id']}/events", token=person.token)
    assert answer.status == 200
    events = answer.json["data"]
    assert [event["kind"] for event in events] == ["revoked", "updated", "created"]
    assert [event["name"] for event in events] == [None, "second", "first"]
    assert [event["actor_key_id"] for event in events] == [None, key["id"], None]
    assert {event["actor_id"] for event in events} == {person.id}
    assert {event["address"] for event in events} == {"127.0.0.1"}


async def test_events_404(app: Running) -> None:
    """Another account's key has no events for this caller."""
    key = await app.key(await app.register())
    other = await app.register()
    answer = await app.ask("GET", f"/api-keys/{key['id']}/events", token=other.token)
    assert (answer.status, answer.code) == (404, "api_key_not_found")
