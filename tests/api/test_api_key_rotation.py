"""Rotation over HTTP: a new secret under the same id, an old one that works on for a while and then nowhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.rfc3339 import format_instant
from domain.instant import DAY, SECOND
from eventstore.clock import system_clock
from tests.api.clock import Clock
from tests.api.gateway.account import until
from tests.api.gateway.place import running_place
from tests.api.running import Answer, Person, Running, application

NO_KEY = "key_" + "0" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=clock) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def rotate(app: Running, person: Person, key: dict[str, Any], **words: Any) -> dict[str, Any]:
    """The answer to a rotation of the person's key."""
    asked = {"token": person.token} | {name: words.pop(name) for name in ("idempotency_key",) if name in words}
    answer = await app.ask("POST", f"/api-keys/{key['id']}/rotate", words, **asked)
    assert answer.status == 200, answer
    rotated: dict[str, Any] = answer.json
    return rotated


async def works(app: Running, secret: str) -> bool:
    """Whether a secret is let in."""
    answer = await app.ask("GET", "/users/me", api_key=secret)
    assert answer.status == 200 or answer.code == "invalid_api_key"
    return answer.status == 200


async def test_rotate_200(app: Running, clock: Clock) -> None:
    """Both secrets work during the overlap, of a day if nothing else is said; after it the old one is refused."""
    person = await app.register()
    key = await app.key(person, name="mine")
    before = clock()
    rotated = await rotate(app, person, key)
    assert (rotated["id"], rotated["name"], rotated["status"]) == (key["id"], "mine", "expiring")
    assert rotated["key"] not in (None, key["key"])
    assert rotated["hint"] != key["hint"]
    assert "once" in rotated["warning"]
    shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert {name: value for name, value in rotated.items() if name not in {"key", "warning"}} == shown.json
    assert format_instant(before + DAY) <= rotated["old_secret_expires_at"] <= format_instant(clock() + DAY)
    assert await works(app, key["key"])
    assert await works(app, rotated["key"])
    with clock.moved(DAY + SECOND):
        assert not await works(app, key["key"])  # also where it was in use a moment before
        assert not await works(app, key["key"])
        assert await works(app, rotated["key"])
        shown = await app.ask("GET", f"/api-keys/{key['id']}", api_key=rotated["key"])
        assert (shown.json["status"], shown.json["old_secret_expires_at"]) == ("active", None)


async def test_rotate_without_a_body(app: Running) -> None:
    """All is as if nothing was said; what is sent must be JSON all the same."""
    person = await app.register()
    key = await app.key(person)
    path = f"/api-keys/{key['id']}/rotate"
    answer = await app.ask("POST", path, token=person.token)
    assert (answer.status, answer.json["status"]) == (200, "expiring")
    answer = await app.ask("POST", path, token=person.token, headers={"Content-Type": "text/plain"})
    assert answer.status == 200
    answer = await app.ask("POST", path, "60", token=person.token)
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_rotate_without_overlap(app: Running) -> None:
    """The old secret ends at once."""
    person = await app.register()
    key = await app.key(person)
    assert await works(app, key["key"])
    rotated = await rotate(app, person, key, overlap_s=0)
    assert rotated["status"] == "active"
    assert not await works(app, key["key"])
    assert await works(app, rotated["key"])


async def test_rotate_during_the_overlap(app: Running) -> None:
    """The oldest secret ends; the two newest work."""
    person = await app.register()
    first = await app.key(person)
    second = await rotate(app, person, first)
    third = await rotate(app, person, first)
    assert [await works(app, each["key"]) for each in (first, second, third)] == [False, True, True]


async def test_rotate_again_under_one_key(app: Running) -> None:
    """A rotation whose answer was lost answers the same secret, also to the secret that it retired, for 24 hours."""
    person = await app.register()
    key = await app.key(person)
    path = f"/api-keys/{key['id']}/rotate"
    first, again = [
        await app.ask("POST", path, {"overlap_s": 60}, api_key=key["key"], idempotency_key="r") for _ in range(2)
    ]
    assert (first.status, again.json) == (200, first.json)
    assert await works(app, first.json["key"])
    await app.store.purge(system_clock() + DAY + SECOND)
    late = await app.ask("POST", path, {"overlap_s": 60}, api_key=key["key"], idempotency_key="r")
    assert (late.status, late.json["key"], late.json["hint"]) == (200, None, first.json["hint"])
    other = await app.ask("POST", path, {"overlap_s": 61}, api_key=key["key"], idempotency_key="r")
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_a_retired_secret_cannot_rotate(app: Running) -> None:
    """Whoever found it has it until the overlap ends, and no longer; nor can it make a key that lasts."""
    person = await app.register()
    key = await app.key(person)
    await rotate(app, person, key)
    for path, body in ((f"/api-keys/{key['id']}/rotate", {}), ("/api-keys", {"name": "k"})):
        answer = await app.ask("POST", path, body, api_key=key["key"])
        assert (answer.status, answer.code) == (403, "expiry_exceeded")


async def test_rotate_403_beyond_the_caller(app: Running) -> None:
    """A new secret is a way to rights: of a key with more scopes, without limits, of mode live, that ends later."""
    person = await app.register()
    wide = await app.key(person)
    narrow = await app.key(person, scopes=["api_keys:write"])
    bound = await app.key(person, rate_limit={"requests_per_minute": 1_000})
    test = await app.key(person, mode="test")
    ends = await app.key(person, expires_at=format_instant(app.services.clock() + DAY))

    async def asked(caller: dict[str, Any]) -> Answer:
        return await app.ask("POST", f"/api-keys/{wide['id']}/rotate", {}, api_key=caller["key"])

    refused = [(await asked(caller)).code for caller in (narrow, bound, test, ends)]
    assert refused == ["scope_exceeded", "limits_exceeded", "mode_exceeded", "expiry_exceeded"]
    own = await app.ask("POST", f"/api-keys/{bound['id']}/rotate", {}, api_key=bound["key"])
    assert own.status == 200


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1, 1.5, "60", None])
async def test_rotate_400(app: Running, overlap_s: Any) -> None:
    """An overlap is 0 to 30 days in seconds."""
    person = await app.register()
    key = await app.key(person)
    answer = await app.ask("POST", f"/api-keys/{key['id']}/rotate", {"overlap_s": overlap_s}, token=person.token)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert await works(app, key["key"])


async def test_rotate_404_and_409(app: Running, clock: Clock) -> None:
    """Another account's key is not there; a revoked or expired one has no more secrets."""
    person, other = await app.register(), await app.register()
    theirs = await app.key(other)
    for key_id in (theirs["id"], NO_KEY, "nothing"):
        answer = await app.ask("POST", f"/api-keys/{key_id}/rotate", {}, token=person.token)
        assert (answer.status, answer.code) == (404, "api_key_not_found")
    revoked, expired = await app.key(person), await app.key(person, expires_at=format_instant(clock() + 60 * SECOND))
    await app.ask("DELETE", f"/api-keys/{revoked['id']}", token=person.token)
    answer = await app.ask("POST", f"/api-keys/{revoked['id']}/rotate", {}, token=person.token)
    assert (answer.status, answer.code) == (409, "api_key_revoked")
    with clock.moved(61 * SECOND):
        answer = await app.ask("POST", f"/api-keys/{expired['id']}/rotate", {}, token=person.token)
        assert (answer.status, answer.code) == (409, "api_key_expired")


async def test_a_revoked_key_has_no_old_secret(app: Running) -> None:
    """Revocation ends both."""
    person = await app.register()
    key = await app.key(person)
    rotated = await rotate(app, person, key)
    revoked = await app.ask("DELETE", f"/api-keys/{key['id']}", token=person.token)
    assert (revoked.json["status"], revoked.json["old_secret_expires_at"]) == ("revoked", None)
    assert [await works(app, each["key"]) for each in (key, rotated)] == [False, False]


async def test_rotation_is_on_record(app: Running) -> None:
    """With who did it, and until when the old secret works; no secret is told."""
    person = await app.register()
    key = await app.key(person)
    rotated = await rotate(app, person, key, overlap_s=600)
    events = await app.ask("GET", f"/api-keys/{key['id']}/events", token=person.token)
    newest = events.json["data"][0]
    assert (newest["kind"], newest["actor_id"]) == ("rotated", person.id)
    assert newest["old_secret_expires_at"] == rotated["old_secret_expires_at"]
    secrets = [made["key"].rpartition("_")[2] for made in (key, rotated)]
    assert not any(secret in str(events.json) for secret in secrets)


async def test_every_process_forgets_a_retired_secret() -> None:
    """Of two API processes one that has the old secret in use refuses it soon after the other has rotated it away."""
    async with running_place(apis=2) as place:
        account = await place.account("0")
        headers = {"X-API-Key": account.key}
        bearer = {"Authorization": f"Bearer {account.token}"}
        key_id = "key_" + account.key.split("_")[2]

        async def status(secret: str, url: str) -> int:
            async with place.http.get(f"{url}/users/me", headers={"X-API-Key": secret}) as answer:
                return answer.status

        assert [await status(account.key, url) for url in place.urls] == [200, 200]
        url = f"{place.urls[0]}/api-keys/{key_id}/rotate"
        async with place.http.post(url, json={"overlap_s": 0}, headers=bearer) as answer:
            assert answer.status == 200
            secret = (await answer.json())["key"]
        assert await status(account.key, place.urls[0]) == 401

        async def refused() -> bool:
            return await status(headers["X-API-Key"], place.urls[1]) == 401

        await until(refused)
        statuses = await asyncio.gather(*(status(secret, url) for url in place.urls))
        assert statuses == [200, 200]
