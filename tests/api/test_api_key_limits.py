"""Limits of API keys over HTTP: set, shown, changed, taken away, and not to be got round by a key that has some."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.rfc3339 import format_instant
from domain.instant import DAY, HOUR
from tests.api.clock import Clock
from tests.api.running import Running, application

RATES = {"requests_per_minute": 60, "requests_per_day": 1_000}
CREDITS = {"amount": "5.500000", "period": "month"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=clock) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_create_with_limits_201(app: Running) -> None:
    """They are shown in every answer; amounts with six places."""
    person = await app.register()
    key = await app.key(person, rate_limit=RATES, credit_limit={"amount": "5.5", "period": "month"})
    assert key["limits"] == {"rate_limit": RATES, "credit_limit": CREDITS}
    shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert shown.json["limits"] == key["limits"]
    caller = await app.services.identities.authenticate(None, key["key"], address="", user_agent="")
    assert (caller.limits.requests_per_minute, caller.limits.requests_per_day) == (60, 1_000)
    assert (caller.limits.credit_limit, caller.limits.credit_period) == (5_500_000, "month")
    events = await app.ask("GET", f"/api-keys/{key['id']}/events", token=person.token)
    assert events.json["data"][0]["limits"] == key["limits"]


async def test_create_without_limits_201(app: Running) -> None:
    """Null and left out are the same: the account's limits are all there is."""
    person = await app.register()
    nothing: tuple[dict[str, Any], ...] = ({}, {"rate_limit": None, "credit_limit": None}, {"rate_limit": {}})
    for asked in nothing:
        key = await app.key(person, **asked)
        assert key["limits"] == {"rate_limit": None, "credit_limit": None}
        assert (key["project_id"], key["status"], key["last_used_at"]) == (None, "active", None)


async def test_change_200(app: Running) -> None:
    """One limit at a time, as a whole; null takes it away, and what is left out stays."""
    person = await app.register()
    key = await app.key(person, rate_limit=RATES)

    async def change(**body: Any) -> Any:
        answer = await app.ask("PATCH", f"/api-keys/{key['id']}", body, token=person.token)
        assert answer.status == 200, answer
        shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
        assert shown.json == answer.json
        return answer.json["limits"]

    assert await change(credit_limit=CREDITS) == {"rate_limit": RATES, "credit_limit": CREDITS}
    fewer = {"requests_per_minute": None, "requests_per_day": 7}
    assert await change(rate_limit={"requests_per_day": 7}) == {"rate_limit": fewer, "credit_limit": CREDITS}
    total = {"amount": "0.000000", "period": "total"}
    assert await change(credit_limit={"amount": "0"}) == {"rate_limit": fewer, "credit_limit": total}
    assert await change(name="other") == {"rate_limit": fewer, "credit_limit": total}
    assert await change(rate_limit=None) == {"rate_limit": None, "credit_limit": total}
    assert await change(credit_limit=None) == {"rate_limit": None, "credit_limit": None}


async def test_a_change_reaches_the_next_request(app: Running) -> None:
    """Limits and end are those that the key has now, also where it is in use."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    await app.ask("PATCH", f"/api-keys/{key['id']}", {"rate_limit": RATES}, token=person.token)
    caller = await app.services.identities.authenticate(None, key["key"], address="", user_agent="")
    assert caller.limits.requests_per_minute == 60


async def test_change_the_end_200(app: Running, clock: Clock) -> None:
    """It is moved, and taken away by null; in its last 7 days a key is `expiring`; one that has run out stays so."""
    person = await app.register()
    key = await app.key(person, expires_at=format_instant(clock() + 8 * DAY))
    path = f"/api-keys/{key['id']}"
    assert key["status"] == "active"
    end = format_instant(clock() + 2 * HOUR)
    changed = await app.ask("PATCH", path, {"expires_at": end}, token=person.token)
    assert (changed.status, changed.json["expires_at"], changed.json["status"]) == (200, end, "expiring")
    changed = await app.ask("PATCH", path, {"expires_at": None}, token=person.token)
    assert (changed.status, changed.json["expires_at"], changed.json["status"]) == (200, None, "active")
    await app.ask("PATCH", path, {"expires_at": end}, token=person.token)
    with clock.moved(3 * HOUR):
        assert (await app.ask("GET", path, token=person.token)).json["status"] == "expired"
        assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 401
        refused = await app.ask("PATCH", path, {"expires_at": None}, token=person.token)
        assert (refused.status, refused.code) == (409, "api_key_expired")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"rate_limit": {"requests_per_minute": 0}}, "invalid_request"),
        ({"rate_limit": {"requests_per_day": 1_000_000_001}}, "invalid_request"),
        ({"rate_limit": {"requests_per_hour": 1}}, "invalid_request"),
        ({"rate_limit": 60}, "invalid_request"),
        ({"credit_limit": {"amount": 5}}, "invalid_request"),
        ({"credit_limit": {"period": "day"}}, "invalid_request"),
        ({"credit_limit": {"amount": "5", "period": "week"}}, "invalid_request"),
        ({"credit_limit": {"amount": "-5"}}, "invalid_amount"),
        ({"credit_limit": {"amount": "5.0000001"}}, "invalid_amount"),
        ({"credit_limit": {"amount": "1000000001"}}, "invalid_amount"),
        ({"credit_limit": "5"}, "invalid_request"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_expiry"),
        ({"expires_at": "soon"}, "invalid_expiry"),
        ({"project_id": 7}, "invalid_request"),
    ],
)
async def test_400(app: Running, body: dict[str, Any], code: str) -> None:
    """Refused in a new key and in a change."""
    person = await app.register()
    key = await app.key(person)
    made = await app.ask("POST", "/api-keys", {"name": "k"} | body, token=person.token)
    assert (made.status, made.code) == (400, code)
    changed = await app.ask("PATCH", f"/api-keys/{key['id']}", body, token=person.token)
    assert (changed.status, changed.code) == (400, "invalid_request" if "project_id" in body else code)


async def test_403_for_a_key_with_limits(app: Running) -> None:
    """It makes no second key, and lifts no limit, its own least of all."""
    person = await app.register()
    other = await app.key(person)
    for limits in ({"rate_limit": RATES}, {"credit_limit": CREDITS}):
        bound = await app.key(person, **limits)
        asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("POST", "/api-keys", {"name": "k"}),
            ("PATCH", f"/api-keys/{bound['id']}", {"rate_limit": None}),
            ("PATCH", f"/api-keys/{bound['id']}", {"credit_limit": {"amount": "1000"}}),
            ("PATCH", f"/api-keys/{other['id']}", {"credit_limit": None}),
        )
        for method, path, body in asked:
            answer = await app.ask(method, path, body, api_key=bound["key"])
            assert (answer.status, answer.code) == (403, "limits_exceeded")
        renamed = await app.ask("PATCH", f"/api-keys/{bound['id']}", {"name": "n"}, api_key=bound["key"])
        assert renamed.status == 200


@pytest.mark.parametrize(
    ("lesser", "code"), [({"scopes": ["api_keys:write"]}, "scope_exceeded"), ({"mode": "test"}, "mode_exceeded")]
)
async def test_403_for_a_key_that_may_do_less(app: Running, lesser: dict[str, Any], code: str) -> None:
    """Who holds a bounded key and one that cannot spend does not free the first with the second."""
    person = await app.register()
    weak = await app.key(person, **lesser)
    limits: dict[str, Any] = {"rate_limit": RATES, "credit_limit": CREDITS, "expires_at": "2100-01-01T00:00:00Z"}
    bounded = await app.key(person, **limits)
    for name in limits:
        answer = await app.ask("PATCH", f"/api-keys/{bounded['id']}", {name: None}, api_key=weak["key"])
        assert (answer.status, answer.code) == (403, code), name
    shown = await app.ask("GET", f"/api-keys/{bounded['id']}", token=person.token)
    assert (shown.json["expires_at"], shown.json["limits"]) == (bounded["expires_at"], bounded["limits"])
    for method, body in (("PATCH", {"name": "n"}), ("DELETE", None)):
        answer = await app.ask(method, f"/api-keys/{bounded['id']}", body, api_key=weak["key"])
        assert answer.status == 200


async def test_403_for_a_key_that_ends(app: Running, clock: Clock) -> None:
    """It moves no key's end beyond its own."""
    person = await app.register()
    key = await app.key(person, expires_at=format_instant(clock() + DAY))
    for end in (None, format_instant(clock() + 2 * DAY)):
        answer = await app.ask("PATCH", f"/api-keys/{key['id']}", {"expires_at": end}, api_key=key["key"])
        assert (answer.status, answer.code) == (403, "expiry_exceeded")
