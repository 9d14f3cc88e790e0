"""The billing settings, over HTTP."""

import pytest

from tests.api.company import as_org, founder, organization
from tests.api.running import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_defaults_200(app: Running) -> None:
    """An account that has set nothing counts in UTC, and is told below one credit."""
    person = await app.register()
    shown = await app.ask("GET", "/billing/settings", token=person.token)
    assert (shown.status, shown.json) == (
        200,
        {"account_id": person.id, "time_zone": "UTC", "low_balance": "1.000000"},
    )


async def test_change_200(app: Running) -> None:
    """What is left out stays; a repeat under one key answers the same; the next request is counted in the zone."""
    person = await app.register()
    for _ in range(2):
        changed = await app.ask(
            "PATCH", "/billing/settings", {"time_zone": "Asia/Kathmandu"}, token=person.token, idempotency_key="z"
        )
        assert (changed.status, changed.json["time_zone"]) == (200, "Asia/Kathmandu")
    changed = await app.ask("PATCH", "/billing/settings", {"low_balance": "0.5"}, token=person.token)
    assert changed.json == {"account_id": person.id, "time_zone": "Asia/Kathmandu", "low_balance": "0.500000"}
    shown = await app.ask("GET", "/billing/settings", token=person.token)
    assert shown.json == changed.json
    caller = await app.services.identities.authenticate(f"Bearer {person.token}", None, address="", user_agent="")
    assert caller.subscription is not None
    assert caller.subscription.time_zone == "Asia/Kathmandu"


async def test_organization_200(app: Running) -> None:
    """An organization has settings of its own."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    changed = await as_org(app, ada, org_id, "PATCH", "/billing/settings", {"low_balance": "7"})
    assert (changed.status, changed.json["account_id"]) == (200, org_id)
    own = await app.ask("GET", "/billing/settings", token=ada.token)
    assert own.json["low_balance"] == "1.000000"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"time_zone": "Mars/Olympus"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": "localtime"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": "europe/berlin"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": ""}, "invalid_request", "time_zone"),
        ({"low_balance": "-1"}, "invalid_amount", "low_balance"),
        ({"low_balance": "1.0000001"}, "invalid_amount", "low_balance"),
        ({"low_balance": "1000000001"}, "invalid_amount", "low_balance"),
        ({"low_balance": 1.5}, "invalid_request", "low_balance"),
        ({"colour": "red"}, "invalid_request", "colour"),
    ],
)
async def test_change_400(app: Running, body: object, code: str, param: str) -> None:
    """What is no zone and no amount of credits is refused, and named."""
    person = await app.register()
    refused = await app.ask("PATCH", "/billing/settings", body, token=person.token)
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (400, code, param)


async def test_change_403(app: Running) -> None:
    """Reading does not include changing."""
    key = await app.key(await app.register(), scopes=["read"])
    refused = await app.ask("PATCH", "/billing/settings", {"low_balance": "1"}, api_key=key["key"])
    assert (refused.status, refused.code) == (403, "missing_scope")
