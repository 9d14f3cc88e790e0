"""Registering and logging in, over HTTP."""

import asyncio

import pytest

from api.identity import passwords as passwords_module
from api.identity.passwords import derive
from api.profile import PASSWORD_PLACE, open_text, seal_text
from api.rfc3339 import parse_instant
from domain.instant import HOUR
from domain.user import RehashPassword
from projections.users import get_user
from tests.api.identity.test_passwords import imported
from tests.api.running import PASSWORD, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_register_201(app: Running) -> None:
    """Registering answers user, account and a token that works for 24 hours."""
    answer = await app.ask("POST", "/auth/register", {"email": "Ada@Example.com", "password": PASSWORD})
    assert answer.status == 201
    assert set(answer.json) == {"user_id", "account_id", "token", "expires_at"}
    assert answer.json["account_id"] == answer.json["user_id"]
    left = parse_instant(answer.json["expires_at"], name="expires_at") - app.services.clock()
    assert 23 * HOUR < left <= 24 * HOUR
    me = await app.ask("GET", "/users/me", token=answer.json["token"])
    assert (me.status, me.json["email"], me.json["id"]) == (200, "Ada@Example.com", answer.json["user_id"])


@pytest.mark.parametrize("email", ["taken@example.com", "TAKEN@example.COM", "ｔａｋｅｎ@example.com"])
async def test_register_409_taken(app: Running, email: str) -> None:
    """An address belongs to one user, in any case and Unicode form."""
    await app.ask("POST", "/auth/register", {"email": "taken@example.com", "password": PASSWORD})
    answer = await app.ask("POST", "/auth/register", {"email": email, "password": PASSWORD})
    assert (answer.status, answer.code) == (409, "email_taken")


async def test_register_at_once(app: Running) -> None:
    """Of many registrations of one address at once exactly one succeeds."""
    bodies = [{"email": f"{'R' * (number % 2) or 'r'}ace@example.com", "password": PASSWORD} for number in range(8)]
    answers = await asyncio.gather(*[app.ask("POST", "/auth/register", body) for body in bodies])
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


async def test_register_again_under_one_key(app: Running) -> None:
    """A registration that is repeated under its `Idempotency-Key` answers the same user and the same token."""
    body = {"email": "again@example.com", "password": PASSWORD, "display_name": "Again"}
    first, second = [await app.ask("POST", "/auth/register", body, idempotency_key="k1") for _ in range(2)]
    assert first.status == second.status == 201
    assert first.json == second.json
    other = await app.ask("POST", "/auth/register", body | {"display_name": "Other"}, idempotency_key="k1")
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"email": "nobody", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a@b@c", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a b@example.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a\u200b@example.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a\n@example.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "@example.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a@", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a@.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "a＠b@c.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": f"{'x' * 250}@e.com", "password": PASSWORD}, "invalid_email", "email"),
        ({"email": "short@example.com", "password": "1234567"}, "invalid_password", "password"),
        ({"email": "long@example.com", "password": "x" * 1025}, "invalid_password", "password"),
        ({"email": "n@example.com", "password": PASSWORD, "display_name": ""}, "invalid_display_name", "display_name"),
        (
            {"email": "n@example.com", "password": PASSWORD, "display_name": "x" * 201},
            "invalid_display_name",
            "display_name",
        ),
        ({"email": "n@example.com"}, "invalid_request", "password"),
        ({"email": "n@example.com", "password": PASSWORD, "role": "admin"}, "invalid_request", "role"),
        ({"email": 1, "password": PASSWORD}, "invalid_request", "email"),
    ],
)
async def test_register_400(app: Running, body: dict[str, object], code: str, param: str) -> None:
    """Bad input names its field."""
    answer = await app.ask("POST", "/auth/register", body)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, param)


@pytest.mark.parametrize("email", ["ünïcödé@exämple.com", "o'neil+tag@example.co.uk", "一二三@例え.jp", "x@localhost"])
async def test_register_keeps_unicode(app: Running, email: str) -> None:
    """An address and a name come back exactly as they were given."""
    person = await app.register(email=email, display_name="Zoë 👩‍💻 Ñ")
    me = await app.ask("GET", "/users/me", token=person.token)
    assert (me.json["email"], me.json["display_name"]) == (email, "Zoë 👩‍💻 Ñ")


async def test_login_200(app: Running) -> None:
    """The right password answers a token; the address may be in any case."""
    person = await app.register()
    answer = await app.ask("POST", "/auth/login", {"email": person.email.upper(), "password": PASSWORD})
    assert (answer.status, answer.json["user_id"]) == (200, person.id)
    assert (await app.ask("GET", "/users/me", token=answer.json["token"])).status == 200


async def test_login_401(app: Running) -> None:
    """A wrong password and an unknown address have the same answer."""
    person = await app.register()
    wrong = await app.ask("POST", "/auth/login", {"email": person.email, "password": "wrong password"})
    unknown = await app.ask("POST", "/auth/login", {"email": "who@example.com", "password": PASSWORD})
    for answer in (wrong, unknown):
        assert (answer.status, answer.code) == (401, "invalid_credentials")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert wrong.json["error"]["message"] == unknown.json["error"]["message"]


async def test_login_429(app: Running) -> None:
    """Who fails again and again has to wait, and other users at the same address do not."""
    person, other = await app.register(), await app.register()
    body = {"email": person.email, "password": "wrong password"}
    answers = [await app.ask("POST", "/auth/login", body) for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert answers[-1].code == "too_many_attempts"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await app.ask("POST", "/auth/login", {"email": other.email, "password": PASSWORD})).status == 200


async def test_login_takes_one_derivation_whoever_it_is(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right password, a wrong one, an unknown address and no address: the same iterations, once each."""
    person = await app.register()
    counted: list[int] = []

    def counting(password: bytes, salt: bytes, iterations: int, padding: int) -> bytes:
        counted.append(iterations + padding)
        return derive(password, salt, iterations, padding)

    monkeypatch.setattr(passwords_module, "derive", counting)
    emails = ((person.email, 200), (person.email, 401), ("who.else@example.com", 401), ("no address", 401))
    for number, (email, status) in enumerate(emails):
        body = {"email": email, "password": "wrong password" if number else PASSWORD}
        assert (await app.ask("POST", "/auth/login", body)).status == status
    assert counted == [10] * 4


async def test_login_rehashes(app: Running) -> None:
    """A login with an imported hash stores the password under current parameters, once, and tokens go on working."""
    person, services = await app.register(), app.services
    sealed = await seal_text(services.sealer, person.id, PASSWORD_PLACE, imported(PASSWORD))
    await app.command(f"user:{person.id}", RehashPassword(password_sealed=sealed, ver=1))
    assert await stored_password(app, person.id) == imported(PASSWORD)
    for _ in range(2):
        answer = await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})
        assert answer.status == 200
    assert (await stored_password(app, person.id)).startswith("pbkdf2-sha256$10$")
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200


async def stored_password(app: Running, user_id: str) -> str:
    """The hash that is stored for a user."""
    user = await get_user(app.services.documents, app.services.shards, user_id)
    assert user is not None
    assert user.password_sealed is not None
    return await open_text(app.services.sealer, user_id, PASSWORD_PLACE, user.password_sealed)


async def test_nothing_personal_in_the_log(app: Running) -> None:
    """Neither records nor events nor documents hold an address, a name, a password or its hash (I8)."""
    person = await app.register(email="secret.address@example.com", display_name="Secret Name")
    stored = await stored_password(app, person.id)
    await app.key(person)
    written = repr(app.log.records) + repr(app.store.__dict__) + repr(app.services.documents.__dict__)
    for text in ("secret.address", "Secret Name", PASSWORD, stored, stored.rpartition("$")[2], person.token):
        assert text not in written
