"""Everything that is held on a user, in one answer."""

import json

import pytest

from domain.account.billing_customers import LinkBillingCustomer
from domain.account.holds import PlaceHold, SettleHold
from domain.account.standing import SuspendAccount
from domain.account.usage import Usage
from domain.instant import MINUTE
from tests.api.company import founder, organization
from tests.api.running import Running
from tests.domain.account.asking import ONE_EACH, add

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_200_has_everything(app: Running) -> None:
    """Profile, memberships, projects, keys, money, usage and trail, opened; more of each than one page."""
    person = await founder(app)
    await app.ask("PATCH", "/users/me", {"display_name": "Ada \u202eKing"}, token=person.token)
    org_id = await organization(app, person)
    project = await app.ask("POST", "/v1/projects", {"name": "Looms"}, token=person.token)
    key = await app.key(person)
    stream, at = f"account:{person.id}", app.services.clock()
    for number in range(105):
        await app.command(stream, add(f"grant_{person.id}_{number}", 10))
    hold = PlaceHold(
        hold_id="hold_1", amount=50, amount_min=50, model="m", price=ONE_EACH, expires_at=at + MINUTE, key_id=key["id"]
    )
    await app.command(stream, hold)
    await app.command(stream, LinkBillingCustomer(provider="stripe", customer_id="cus_1"))
    await app.command(stream, SettleHold(hold_id="hold_1", usage=Usage(source="provider", output=40)))

    answer = await app.ask("GET", "/users/me/export", token=person.token)
    assert answer.status == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="{person.id}.json"'
    held = answer.json
    assert held["user"] == (await app.ask("GET", "/users/me", token=person.token)).json
    assert (held["user"]["email"], held["user"]["display_name"]) == (person.email, "Ada \u202eKing")
    assert held["billing_settings"] == (await app.ask("GET", "/billing/settings", token=person.token)).json
    assert [each["organization_id"] for each in held["organizations"]] == [org_id]
    assert held["projects"] == [project.json]
    assert [each["id"] for each in held["api_keys"]] == [key["id"]]
    assert key["key"] not in json.dumps(held)
    assert len(held["transactions"]) == 106
    assert len({each["id"] for each in held["transactions"]}) == 106
    assert [each["id"] for each in held["holds"]] == ["hold_1"]
    assert [(each["provider"], each["customer_id"]) for each in held["billing_customers"]] == [("stripe", "cus_1")]
    [used] = held["usage"]
    assert (used["model"], used["api_key_id"], used["output_tokens"], used["cost"]) == ("m", key["id"], 40, "0.000040")
    actions = [each["action"] for each in held["audit"]]
    assert actions.count("credits.add") == 105
    assert {"user.register", "user.update_profile", "api_key.create"} <= set(actions)
    assert {each["address"] for each in held["audit"] if each["action"] == "user.update_profile"} == {"127.0.0.1"}


async def test_200_has_empty_lists_for_who_did_nothing(app: Running) -> None:
    """The shape is the same; a suspended account can still be exported."""
    person = await app.register()
    await app.command(f"account:{person.id}", SuspendAccount(reason_sealed="r"))
    await app.until(lambda: f"account:{person.id}" not in app.services.identities.cache._of)
    answer = await app.ask("GET", "/users/me/export", token=person.token)
    assert answer.status == 200
    assert {name: answer.json[name] for name in ("organizations", "projects", "api_keys", "holds", "usage")} == {
        "organizations": [],
        "projects": [],
        "api_keys": [],
        "holds": [],
        "usage": [],
    }


async def test_401_and_403(app: Running) -> None:
    """Nobody's, and not through an API key: it has more in it than a key can see."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me/export")).status == 401
    assert (await app.ask("GET", "/users/me/export", api_key=key["key"])).code == "login_required"
