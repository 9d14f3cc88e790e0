"""A key that nobody has seen does not work, whenever its command is applied; a rotation tells of one."""

import pytest

from tests.api.command_log.test_commands import Place, place
from tests.api.gateway.account import until

__all__ = ["place"]

IMPATIENT = {"stream": None, "wait_s": 0.05}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes wait for their outcomes no longer than a moment."""
    monkeypatch.setattr("api.command_log.commands.Draft.submit.__kwdefaults__", IMPATIENT)


async def _statuses(place: Place, token: str) -> list[str]:
    return [key["status"] for key in (await place.app.ask("GET", "/api-keys", token=token)).json["data"]]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mode", ["slow", "unacknowledged"])
async def test_create_503_and_the_key_is_revoked(place: Place, mode: str) -> None:
    """Late or of unknown fate: the client is told to try again, and a key that is made after all is taken back."""
    person = await place.app.register()
    place.bus.mode = mode
    answer = await place.app.ask("POST", "/api-keys", {"name": "k"}, token=person.token)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "api_key_unconfirmed", "1")
    await place.bus.deliver()

    async def made_and_revoked() -> bool:
        return await _statuses(place, person.token) == ["revoked"]

    await until(made_and_revoked)


@pytest.mark.usefixtures("impatient")
async def test_create_202_with_an_idempotency_key(place: Place) -> None:
    """Its repeat shows the key, so nothing is taken back."""
    person = await place.app.register()
    place.bus.mode = "slow"
    first = await place.app.ask("POST", "/api-keys", {"name": "k"}, token=person.token, idempotency_key="c")
    assert first.status == 202
    await place.bus.deliver()
    await place.status(first.json["status_url"], "applied", token=person.token)
    again = await place.app.ask("POST", "/api-keys", {"name": "k"}, token=person.token, idempotency_key="c")
    assert (again.status, again.json["key"][:8]) == (201, "fs_live_")
    assert await _statuses(place, person.token) == ["active"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mode", ["slow", "unacknowledged"])
async def test_rotate_503_and_the_old_secret_goes_on(place: Place, mode: str) -> None:
    """The client is told that nobody will see the new one; with an Idempotency-Key the repeat shows it."""
    person = await place.app.register()
    key = await place.app.key(person)
    path = f"/api-keys/{key['id']}/rotate"
    place.bus.mode = mode
    answer = await place.app.ask("POST", path, {}, token=person.token)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "rotation_unconfirmed", "1")
    await place.bus.deliver()

    async def rotated() -> bool:
        shown = await place.app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
        return bool(shown.json["hint"] != key["hint"])

    await until(rotated)
    assert (await place.app.ask("GET", "/users/me", api_key=key["key"])).status == 200
