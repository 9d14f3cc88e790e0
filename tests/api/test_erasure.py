"""Erasing a user, over HTTP: what was personal can be opened by nobody, from nothing that is stored."""

import re
from collections.abc import Iterator

import pytest

from api.sealing import Erased, Sealer, Unsealable
from domain.erasure import EraseUser
from projections.subscriptions import get_subscription
from tests.api.running import PASSWORD, Person, Running

SEALED = re.compile(rb"v1\.([0-9a-f]{12})\.[A-Za-z0-9_=-]{38,}")


pytestmark = pytest.mark.asyncio(loop_scope="module")


def stored(app: Running) -> Iterator[bytes]:
    """All that is stored or sent: log, events, snapshots, outcomes, answers, dead letters, documents."""
    store, documents = app.store, app.services.documents
    for records in app.log.records:
        yield from records
    for events in store._log.values():
        for event in events:
            yield event.payload
            yield event.metadata
    for head in store.heads.values():
        yield head.snapshot or b""
    for outcome in store._outcomes.values():
        yield bytes(outcome.data) + (outcome.secret or "").encode()
    for answer in store._answers.values():
        yield answer.sealed
    for letter in store._dead_letters.values():
        yield letter.record
    for collection in documents._documents.values():  # type: ignore[attr-defined]  # the memory store's own
        for change in collection.values():
            yield change.doc or b""


def sealed_texts(app: Running, key_id: str) -> set[str]:
    """Every sealed text of one data key, wherever it is."""
    return {found[0].decode() for data in stored(app) for found in SEALED.finditer(data) if found[1].decode() == key_id}


async def key_id_of(app: Running, subject: str) -> str:
    """The id of the subject's data key, by sealing something."""
    return (await app.services.sealer.seal(subject, "test", b"x")).split(".")[1]


async def lived(app: Running) -> Person:
    """A user who has done everything that personal data goes into."""
    person = await app.register(display_name="Ada")
    await app.ask("PATCH", "/users/me", {"display_name": "Ada King"}, token=person.token)
    await app.key(person)
    return person


async def test_erase_200_nothing_can_be_opened(app: Running) -> None:
    """I8: no sealed text of the user's opens for a process that starts now, and there were many before."""
    person = await lived(app)
    subjects = [f"user:{person.id}", f"account:{person.id}"]
    ids = {subject: await key_id_of(app, subject) for subject in subjects}
    before = {subject: sealed_texts(app, ids[subject]) for subject in subjects}
    assert len(before[subjects[0]]) >= 6, "email, names, password and where the requests came from"
    assert len(before[subjects[1]]) >= 1, "the API key's secret"

    answer = await app.ask("DELETE", "/users/me", token=person.token)
    assert (answer.status, answer.json["user_id"]) == (200, person.id)

    fresh = Sealer(app.store, app.services.sealer._master_keys)
    for subject in subjects:
        assert sealed_texts(app, ids[subject]) >= before[subject] - {""}, "the log keeps what it has"
        for text in sealed_texts(app, ids[subject]):
            for place in ("user.email", "user.display_name", "user.password", "origin", "test"):
                with pytest.raises(Erased):
                    await fresh.open(subject, place, text)
        with pytest.raises(Erased):
            await fresh.seal(subject, "test", b"x")
    documents = app.services.documents._documents  # type: ignore[attr-defined]  # the memory store's own
    assert person.id not in documents["users"]
    assert not [change for change in documents["emails"].values() if change.owner == person.id]


async def test_erase_200_ends_tokens_and_keys(app: Running) -> None:
    """Everything that acted for the user is refused from now on; a login finds nobody."""
    person = await lived(app)
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    assert (await app.ask("DELETE", "/users/me", {"password": PASSWORD}, token=person.token)).status == 200
    assert (await app.ask("GET", "/users/me", token=person.token)).code == "invalid_token"
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).code == "invalid_api_key"
    login = await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})
    assert (login.status, login.code) == (401, "invalid_credentials")


async def test_erase_200_is_waited_for(app: Running) -> None:
    """Who is gone could not ask what became of a command: the preference not to wait is not heeded."""
    person = await app.register()
    answer = await app.ask("DELETE", "/users/me", token=person.token, headers={"Prefer": "respond-async"})
    assert (answer.status, answer.json["user_id"]) == (200, person.id)


async def test_erase_by_another_process_ends_what_is_cached_here(app: Running) -> None:
    """An erasure that this process has only read about by its stamp ends warm tokens and keys."""
    person = await lived(app)
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    await app.command(f"user:{person.id}", EraseUser())
    await app.until(lambda: person.id not in app.services.identities.cache._of)
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 401
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 401


async def test_the_address_can_be_registered_anew(app: Running) -> None:
    """Another user, with another account and none of the first one's credits or name."""
    person = await lived(app)
    assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
    again = await app.register(email=person.email)
    assert again.id != person.id
    me = await app.ask("GET", "/users/me", token=again.token)
    assert (me.json["email"], me.json["display_name"]) == (person.email, None)


async def test_a_registration_repeated_after_its_erasure_makes_nobody(app: Running) -> None:
    """The repeat under its old key brings neither user nor data key back, and says what has happened."""
    body = {"email": "repeated@example.com", "password": PASSWORD}
    first = await app.ask("POST", "/auth/register", body, idempotency_key="r")
    assert (await app.ask("DELETE", "/users/me", token=first.json["token"])).status == 200
    again = await app.ask("POST", "/auth/register", body, idempotency_key="r")
    assert (again.status, again.code) == (404, "user_not_found")
    assert await app.store.data_key(f"user:{first.json['user_id']}") is None
    assert (await app.ask("POST", "/auth/register", body, idempotency_key="r2")).status == 201


async def test_what_renewed_by_itself_ends(app: Running) -> None:
    """Nobody is left whose plan could be renewed; the subscription ends before its owner."""
    admin, person = await app.admin(), await app.register()
    body = {"account_id": person.id, "plan": "pro", "status": "active", "reference": "r"}
    told = body | {"occurred_at": "2026-01-01T00:00:00Z"}
    assert (await app.ask("PUT", "/billing/subscription", told, token=admin.token)).status == 200
    assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
    view = await get_subscription(app.services.documents, app.services.shards, person.id)
    assert (view.plan, view.status) == ("pro", "canceled")


async def test_erase_400(app: Running) -> None:
    """A body, if there is one, is JSON with at most a password."""
    person = await app.register()
    bodies: tuple[object, ...] = ([], {"password": 1}, {"sure": True})
    for body in bodies:
        assert (await app.ask("DELETE", "/users/me", body, token=person.token)).status == 400
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200


async def test_erase_401(app: Running) -> None:
    """Nobody is erased by nobody."""
    assert (await app.ask("DELETE", "/users/me")).code == "missing_credentials"


async def test_erase_403(app: Running) -> None:
    """Not through an API key, not with a wrong password: the user is as before."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("DELETE", "/users/me", api_key=key["key"])).code == "login_required"
    wrong = await app.ask("DELETE", "/users/me", {"password": "not this one"}, token=person.token)
    assert (wrong.status, wrong.code, wrong.json["error"]["param"]) == (403, "wrong_password", "password")
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200


async def test_what_was_sealed_for_others_stays(app: Running) -> None:
    """One user's erasure is nobody else's."""
    person, other = await lived(app), await lived(app)
    assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
    me = await app.ask("GET", "/users/me", token=other.token)
    assert (me.status, me.json["display_name"]) == (200, "Ada King")
    sealed = await app.services.sealer.seal(f"user:{other.id}", "test", b"x")
    with pytest.raises(Unsealable):
        await app.services.sealer.open(f"user:{other.id}", "elsewhere", sealed)
