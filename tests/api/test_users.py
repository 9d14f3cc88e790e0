"""The user's own profile and password, over HTTP."""

from typing import Any

import pytest

from tests.api.running import PASSWORD, Running

OTHER = "another fine password"


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_show_200(app: Running) -> None:
    """A user sees itself, by token and by key."""
    person = await app.register(display_name="Ada")
    key = await app.key(person)
    by_token = await app.ask("GET", "/users/me", token=person.token)
    by_key = await app.ask("GET", "/users/me", api_key=key["key"])
    assert by_token.status == by_key.status == 200
    assert by_token.json == by_key.json
    assert by_token.json | {"created_at": ""} == {
        "id": person.id,
        "account_id": person.id,
        "email": person.email,
        "email_verified": False,
        "display_name": "Ada",
        "role": "user",
        "identity": None,
        "plan": "free",
        "created_at": "",
    }


@pytest.mark.parametrize(
    ("body", "name"), [({"display_name": "Eva"}, "Eva"), ({"display_name": None}, None), ({}, "Ada")]
)
async def test_change_200(app: Running, body: dict[str, Any], name: str | None) -> None:
    """What is given changes, null removes, what is left out stays; the next read agrees."""
    person = await app.register(display_name="Ada")
    answer = await app.ask("PATCH", "/users/me", body, token=person.token)
    assert (answer.status, answer.json["display_name"]) == (200, name)
    assert (await app.ask("GET", "/users/me", token=person.token)).json == answer.json


async def test_change_again_under_one_key(app: Running) -> None:
    """A repeated change has one effect and one answer, even after another change."""
    person = await app.register()
    body = {"display_name": "First"}
    first = await app.ask("PATCH", "/users/me", body, token=person.token, idempotency_key="p")
    await app.ask("PATCH", "/users/me", {"display_name": "Second"}, token=person.token)
    again = await app.ask("PATCH", "/users/me", body, token=person.token, idempotency_key="p")
    assert again.json == first.json
    assert (await app.ask("GET", "/users/me", token=person.token)).json["display_name"] == "Second"


async def test_change_of_nothing_uses_up_its_key(app: Running) -> None:
    """An empty change is a request like others: its repeat has the first answer, another one under its key is 422."""
    person = await app.register(display_name="Ada")
    first = await app.ask("PATCH", "/users/me", {}, token=person.token, idempotency_key="e")
    other = await app.ask("PATCH", "/users/me", {"display_name": "Eva"}, token=person.token, idempotency_key="e")
    assert (first.status, first.json["display_name"]) == (200, "Ada")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    await app.ask("PATCH", "/users/me", {"display_name": "Eva"}, token=person.token)
    again = await app.ask("PATCH", "/users/me", {}, token=person.token, idempotency_key="e")
    assert (again.status, again.json) == (200, first.json)


@pytest.mark.parametrize(
    "body", [{"display_name": ""}, {"display_name": "a\nb"}, {"display_name": 1}, {"role": "admin"}]
)
async def test_change_400(app: Running, body: dict[str, Any]) -> None:
    """Bad names and unknown fields are refused."""
    person = await app.register()
    assert (await app.ask("PATCH", "/users/me", body, token=person.token)).status == 400


async def test_401(app: Running) -> None:
    """Without credentials there is no user to show."""
    for method in ("GET", "PATCH"):
        answer = await app.ask(method, "/users/me", None if method == "GET" else {})
        assert (answer.status, answer.code) == (401, "missing_credentials")


async def test_change_403(app: Running) -> None:
    """A key that may only read changes nothing, and is told which scope it lacks."""
    person = await app.register()
    key = await app.key(person, scopes=["read"])
    answer = await app.ask("PATCH", "/users/me", {"display_name": "x"}, api_key=key["key"])
    assert (answer.status, answer.code, answer.json["error"]["required_scope"]) == (403, "missing_scope", "users:write")


async def test_password_200_ends_older_tokens(app: Running) -> None:
    """A new password ends every older token at once; keys, the fresh token and the new password work."""
    person = await app.register()
    key = await app.key(person)
    body = {"current_password": PASSWORD, "new_password": OTHER}
    answer = await app.ask("POST", "/users/me/password", body, token=person.token)
    assert answer.status == 200
    assert (await app.ask("GET", "/users/me", token=person.token)).code == "invalid_token"
    assert (await app.ask("GET", "/users/me", token=answer.json["token"])).status == 200
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    old = await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})
    new = await app.ask("POST", "/auth/login", {"email": person.email, "password": OTHER})
    assert (old.status, new.status) == (401, 200)


async def test_password_again_under_one_key(app: Running) -> None:
    """A change whose answer was lost can be repeated with the new login: the same answer, and one change."""
    person = await app.register()
    body = {"current_password": PASSWORD, "new_password": OTHER}
    first = await app.ask("POST", "/users/me/password", body, token=person.token, idempotency_key="c")
    login = await app.ask("POST", "/auth/login", {"email": person.email, "password": OTHER})
    again = await app.ask("POST", "/users/me/password", body, token=login.json["token"], idempotency_key="c")
    assert (first.status, again.status, again.json) == (200, 200, first.json)
    changed = body | {"new_password": "something else entirely"}
    other = await app.ask("POST", "/users/me/password", changed, token=login.json["token"], idempotency_key="c")
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_password_400(app: Running) -> None:
    """A weak new password is refused and names its field."""
    person = await app.register()
    body = {"current_password": PASSWORD, "new_password": "short"}
    answer = await app.ask("POST", "/users/me/password", body, token=person.token)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_password", "new_password")


async def test_password_403(app: Running) -> None:
    """A wrong current password changes nothing, and a key cannot change a password at all."""
    person = await app.register()
    key = await app.key(person)
    wrong = {"current_password": "not my password", "new_password": OTHER}
    answer = await app.ask("POST", "/users/me/password", wrong, token=person.token)
    assert (answer.status, answer.code) == (403, "wrong_password")
    right = {"current_password": PASSWORD, "new_password": OTHER}
    answer = await app.ask("POST", "/users/me/password", right, api_key=key["key"])
    assert (answer.status, answer.code) == (403, "login_required")
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200


async def test_password_429(app: Running) -> None:
    """A stolen token cannot be used to guess the password."""
    person = await app.register()
    body = {"current_password": "not my password", "new_password": OTHER}
    answers = [await app.ask("POST", "/users/me/password", body, token=person.token) for _ in range(6)]
    assert [answer.status for answer in answers] == [403] * 5 + [429]
